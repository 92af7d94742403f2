// pack (kernels.h): sums[position][16 lanes] to the two bit planes of a ternary state, 8 lanes at a time. The sign bits of a
// comparison are the plane's byte.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/kernels.h"
#include "common/target.h"
#include "kernels/write_bits.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

inline __m256i eight(const int32_t* values) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)); }

inline uint8_t greater(__m256i a, __m256i b) {
  return static_cast<uint8_t>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b))));
}

}  // namespace

void pack_avx2(const int32_t* sums, int count, const int32_t thresholds[2][kLanes], uint16_t flip, int bytes,
               uint8_t* const* outputs, int64_t plane) {
  for (int byte = 0; byte < bytes; ++byte) {
    const __m256i low = eight(thresholds[0] + 8 * byte), high = eight(thresholds[1] + 8 * byte);
    const uint8_t flipped = static_cast<uint8_t>(flip >> 8 * byte);
    for (int p = 0; p < count; ++p) {
      const __m256i sum = eight(sums + p * kLanes + 8 * byte);
      write_bits<uint8_t>(greater(low, sum), ~greater(high, sum), flipped, outputs[p] + byte, plane);
    }
  }
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
