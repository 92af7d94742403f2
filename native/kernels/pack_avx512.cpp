// pack (kernels.h): sums[position][16 lanes] to the two bit planes of a ternary state, 16 lanes at a time. A comparison's
// mask is the plane's word.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/kernels.h"
#include "common/target.h"
#include "kernels/write_bits.h"

GXNOR_TARGET("avx512f,avx512bw")

namespace gxnor {

void pack_avx512(const int32_t* sums, int count, const int32_t thresholds[2][kLanes], uint16_t flip, int bytes,
                 uint8_t* const* outputs, int64_t plane) {
  const __m512i low = _mm512_loadu_si512(thresholds[0]), high = _mm512_loadu_si512(thresholds[1]);
  for (int p = 0; p < count; ++p) {
    const __m512i sum = _mm512_loadu_si512(sums + p * kLanes);
    const uint16_t below = _mm512_cmplt_epi32_mask(sum, low), above = _mm512_cmpge_epi32_mask(sum, high);
    if (bytes == 2)
      write_bits<uint16_t>(below, above, flip, outputs[p], plane);
    else
      write_bits<uint8_t>(below, above, flip, outputs[p], plane);
  }
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
