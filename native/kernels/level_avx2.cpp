// level and line_level (kernels.h) for 16 lanes of one position at a time: comparisons give -1 where a threshold is above the sum, and
// adding these counts them. AVX-512 uses this kernel too; with its masks it was slower.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/kernels.h"
#include "common/target.h"
#include "kernels/write_bits.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

inline __m256i eight(const int32_t* values) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)); }

// level(half, sum) gives the levels of eight lanes.
template <typename F>
void level_each(const int32_t* sums, int count, uint16_t flip, int lanes, uint8_t* const* outputs, F&& level) {
  alignas(16) int8_t sign[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) sign[lane] = flip >> lane & 1 ? -1 : 1;
  const __m128i signs = _mm_load_si128(reinterpret_cast<const __m128i*>(sign));
  for (int p = 0; p < count; ++p, sums += kLanes) {
    const __m256i packed = _mm256_packs_epi32(level(0, eight(sums)), level(1, eight(sums + 8)));
    const __m256i words = _mm256_permute4x64_epi64(packed, 0xD8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    const __m128i out = _mm_sign_epi8(bytes, signs);
    if (lanes == kLanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(outputs[p]), out);
    } else {
      int8_t each[kLanes];
      _mm_storeu_si128(reinterpret_cast<__m128i*>(each), out);
      write_lanes(each, lanes, outputs[p]);
    }
  }
}

}  // namespace

void level_avx2(const int32_t* sums, int count, const int32_t* thresholds, int rows, uint16_t flip, int lanes,
                uint8_t* const* outputs) {
  const __m256i half_of_rows = _mm256_set1_epi32(rows / 2);
  if (rows == 2) {  // ternary: thresholds stay in registers
    const __m256i low[2] = {eight(thresholds), eight(thresholds + 8)};
    const __m256i high[2] = {eight(thresholds + kLanes), eight(thresholds + kLanes + 8)};
    return level_each(sums, count, flip, lanes, outputs, [&](int half, __m256i sum) {
      const __m256i above = _mm256_add_epi32(_mm256_cmpgt_epi32(low[half], sum), _mm256_cmpgt_epi32(high[half], sum));
      return _mm256_add_epi32(half_of_rows, above);
    });
  }
  level_each(sums, count, flip, lanes, outputs, [&](int half, __m256i sum) {
    __m256i level = half_of_rows;
    for (const int32_t* row = thresholds; row < thresholds + rows * kLanes; row += kLanes)  // true is -1
      level = _mm256_add_epi32(level, _mm256_cmpgt_epi32(eight(row + 8 * half), sum));
    return level;
  });
}

void line_level_avx2(const int32_t* sums, int count, const Lines& lines, int rows, uint16_t flip, int lanes,
                     uint8_t* const* outputs) {
  const __m256 scale[2] = {_mm256_loadu_ps(lines.scale), _mm256_loadu_ps(lines.scale + 8)};
  const __m256 offset[2] = {_mm256_loadu_ps(lines.offset), _mm256_loadu_ps(lines.offset + 8)};
  const __m256i split[2] = {eight(lines.split), eight(lines.split + 8)};
  const __m256 top = _mm256_set1_ps(static_cast<float>(rows));
  const __m256i half_of_rows = _mm256_set1_epi32(rows / 2);
  level_each(sums, count, flip, lanes, outputs, [&](int half, __m256i sum) {
    sum = _mm256_add_epi32(sum, _mm256_and_si256(_mm256_cmpgt_epi32(sum, _mm256_setzero_si256()), split[half]));
    const __m256 reached = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale[half]), offset[half]);
    const __m256 within = _mm256_min_ps(_mm256_max_ps(reached, _mm256_setzero_ps()), top);
    return _mm256_sub_epi32(_mm256_cvttps_epi32(within), half_of_rows);
  });
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
