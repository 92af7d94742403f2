#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"
#include "target.h"

GXNOR_TARGET("avx512f,avx512bw")

namespace gxnor {

void pack_avx512(const int32_t* sums, int count, const int32_t thresholds[2][kLanes], uint16_t flip, int bytes,
                 uint8_t* const* outputs, int64_t plane) {
  const __m512i low = _mm512_loadu_si512(thresholds[0]), high = _mm512_loadu_si512(thresholds[1]);
  for (int p = 0; p < count; ++p) {
    const __m512i sum = _mm512_loadu_si512(sums + p * kLanes);
    const unsigned minus = _mm512_cmplt_epi32_mask(sum, low);
    const unsigned nonzero = minus | _mm512_cmpge_epi32_mask(sum, high);
    const uint16_t pair[2] = {static_cast<uint16_t>(nonzero), static_cast<uint16_t>(minus ^ (flip & nonzero))};
    if (bytes == 2) {
      __builtin_memcpy(outputs[p], &pair[0], 2);
      __builtin_memcpy(outputs[p] + plane, &pair[1], 2);
    } else {
      outputs[p][0] = static_cast<uint8_t>(pair[0]);
      outputs[p][plane] = static_cast<uint8_t>(pair[1]);
    }
  }
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
