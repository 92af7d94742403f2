// The products of points (kernels.h): 16 output channels x up to 4 tiles. The dot products of ARMv8.2 multiply signed bytes,
// so the windows have no zero point.
#include "kernels/kernels.h"

#if defined(GXNOR_DOTPROD)
#include <arm_neon.h>

#include "common/target.h"
#include "kernels/winograd_body.h"

GXNOR_TARGET("arch=armv8.2-a+dotprod")

namespace gxnor {
namespace {

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int32_t*, const int32_t*, int32_t* m, int) {
  int32x4_t sum[P][4];
  for (int p = 0; p < P; ++p)
    for (int i = 0; i < 4; ++i) sum[p][i] = vdupq_n_s32(0);
  for (int q = 0; q < quads; ++q, u += 64) {
    const int8x16_t w[4] = {vld1q_s8(u), vld1q_s8(u + 16), vld1q_s8(u + 32), vld1q_s8(u + 48)};
    for (int p = 0; p < P; ++p) {
      int32_t quad;
      __builtin_memcpy(&quad, v + 4 * (int64_t{p} * quads + q), 4);
      const int8x16_t x = vreinterpretq_s8_s32(vdupq_n_s32(quad));
      for (int i = 0; i < 4; ++i) sum[p][i] = vdotq_s32(sum[p][i], x, w[i]);
    }
  }
  for (int p = 0; p < P; ++p)
    for (int i = 0; i < 4; ++i) vst1q_s32(m + p * kLanes + 4 * i, sum[p][i]);
}

template <int M>
void products(const PointProducts& of) {
  static constexpr TileProduct kKernels[] = {{4, tile<4>}, {1, tile<1>}};
  cut<M, kUsualGroup, 1>(kKernels, of);
}

}  // namespace

const WinogradKernels winograd2_dotprod = plain_around<2, Raise::none>(products<2>);
const WinogradKernels winograd4_dotprod = plain_around<4, Raise::none>(products<4>);

}  // namespace gxnor
GXNOR_TARGET_END
#endif
