// pack (kernels.h): sums[position][16 lanes] to the two bit planes of a ternary state, 16 sums at a time: of one position, or
// of two with 8 lanes. Comparisons with both thresholds become bytes, whose sign bits are the planes'.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/kernels.h"
#include "common/target.h"
#include "kernels/write_bits.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

inline __m256i eight(const int32_t* values) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)); }

// Where the thresholds of two times 8 sums are above them: in the lower 16 bits `low`, in the upper ones `high`.
inline uint32_t above(const __m256i (&low)[2], const __m256i (&high)[2], __m256i first, __m256i second) {
  const __m256i l = _mm256_packs_epi32(_mm256_cmpgt_epi32(low[0], first), _mm256_cmpgt_epi32(low[1], second));
  const __m256i h = _mm256_packs_epi32(_mm256_cmpgt_epi32(high[0], first), _mm256_cmpgt_epi32(high[1], second));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packing goes by halves of a register
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(_mm256_packs_epi16(l, h), order)));
}

inline void write_byte(uint32_t bits, int shift, uint16_t flip, uint8_t* to, int64_t plane) {
  write_bits<uint8_t>(static_cast<uint8_t>(bits >> shift), static_cast<uint8_t>(~bits >> (16 + shift)),
                      static_cast<uint8_t>(flip), to, plane);
}

}  // namespace

void pack_avx2(const int32_t* sums, int count, const int32_t thresholds[2][kLanes], uint16_t flip, int bytes,
               uint8_t* const* outputs, int64_t plane) {
  const int second = bytes == 2 ? 8 : 0;
  const __m256i low[2] = {eight(thresholds[0]), eight(thresholds[0] + second)};
  const __m256i high[2] = {eight(thresholds[1]), eight(thresholds[1] + second)};
  if (bytes == 2) {
    for (int p = 0; p < count; ++p, sums += kLanes) {
      const uint32_t bits = above(low, high, eight(sums), eight(sums + 8));
      write_bits<uint16_t>(static_cast<uint16_t>(bits), static_cast<uint16_t>(~bits >> 16), flip, outputs[p], plane);
    }
    return;
  }
  for (; count >= 2; count -= 2, outputs += 2, sums += 2 * kLanes) {
    const uint32_t bits = above(low, high, eight(sums), eight(sums + kLanes));
    write_byte(bits, 0, flip, outputs[0], plane);
    write_byte(bits, 8, flip, outputs[1], plane);
  }
  if (count) write_byte(above(low, high, eight(sums), eight(sums)), 0, flip, outputs[0], plane);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
