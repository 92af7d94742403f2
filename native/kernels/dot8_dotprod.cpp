// dot8 (kernels.h): 16 output channels x up to 4 positions; a unit is 4 channels of int8. The dot products of ARMv8.2
// multiply signed bytes, so no zero point is added.
#include "kernels/kernels.h"

#if defined(GXNOR_DOTPROD)
#include <arm_neon.h>

#include "common/target.h"

GXNOR_TARGET("arch=armv8.2-a+dotprod")

namespace gxnor {
namespace {

template <int P>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
  const int8_t* w = static_cast<const int8_t*>(weights) + kLanes * sizeof(int32_t);
  int32x4_t sum[P][4];
  for (int p = 0; p < P; ++p)
    for (int i = 0; i < 4; ++i) sum[p][i] = vdupq_n_s32(0);
  for (int u = 0; u < window.units; ++u, w += 4 * kLanes) {
    const int8x16_t quads[4] = {vld1q_s8(w), vld1q_s8(w + 16), vld1q_s8(w + 32), vld1q_s8(w + 48)};
    for (int p = 0; p < P; ++p) {
      int32_t quad;
      __builtin_memcpy(&quad, positions[p] + window.offsets[u], 4);
      const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(quad));
      for (int i = 0; i < 4; ++i) sum[p][i] = vdotq_s32(sum[p][i], x, quads[i]);
    }
  }
  for (int p = 0; p < P; ++p)
    for (int i = 0; i < 4; ++i) vst1q_s32(sums + p * kLanes + 4 * i, sum[p][i]);
}

}  // namespace

void dot8_dotprod(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 4; count -= 4, positions += 4, sums += 4 * kLanes) tile<4>(positions, window, weights, sums);
  for (; count; --count, ++positions, sums += kLanes) tile<1>(positions, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
