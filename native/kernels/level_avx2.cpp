// level (kernels.h) for 16 lanes of one position at a time: comparisons give -1 where a threshold is above the sum, and
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

}  // namespace

void level_avx2(const int32_t* sums, int count, const int32_t* thresholds, int rows, uint16_t flip, int lanes,
                uint8_t* const* outputs) {
  alignas(16) int8_t sign[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) sign[lane] = flip >> lane & 1 ? -1 : 1;
  const __m128i signs = _mm_load_si128(reinterpret_cast<const __m128i*>(sign));
  for (int p = 0; p < count; ++p, sums += kLanes) {
    const __m256i sum[2] = {eight(sums), eight(sums + 8)};
    __m256i level[2] = {_mm256_set1_epi32(rows / 2), _mm256_set1_epi32(rows / 2)};
    for (const int32_t* row = thresholds; row < thresholds + rows * kLanes; row += kLanes)
      for (int half = 0; half < 2; ++half)  // true is -1
        level[half] = _mm256_add_epi32(level[half], _mm256_cmpgt_epi32(eight(row + 8 * half), sum[half]));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(level[0], level[1]), 0xD8);
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

}  // namespace gxnor
GXNOR_TARGET_END
#endif
