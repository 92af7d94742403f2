// The products of points (kernels.h): 16 output channels x up to 2 tiles, of signed bytes, so the windows have no zero
// point. Each of a quad's four channels has a 16-bit sum, which is widened after as many quads as fit and added to the sums
// in memory.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/kernels.h"
#include "kernels/winograd_body.h"

namespace gxnor {
namespace {

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int32_t*, const int32_t*, int32_t* m, int piece) {
  piece *= 4;  // it is for pairs, of windows that are raised
  for (int begin = 0; begin < quads; begin += piece) {
    const int end = quads - begin < piece ? quads : begin + piece;
    int16x8_t sum[P][8];  // two channels each
    for (int p = 0; p < P; ++p)
      for (int i = 0; i < 8; ++i) sum[p][i] = vdupq_n_s16(0);
    for (int q = begin; q < end; ++q, u += 64) {
      for (int p = 0; p < P; ++p) {
        int32_t quad;
        __builtin_memcpy(&quad, v + 4 * (int64_t{p} * quads + q), 4);
        const int8x8_t x = vreinterpret_s8_s32(vdup_n_s32(quad));
        for (int i = 0; i < 8; ++i) sum[p][i] = vmlal_s8(sum[p][i], x, vld1_s8(u + 8 * i));
      }
    }
    for (int p = 0; p < P; ++p)
      for (int i = 0; i < 4; ++i) {
        const int32x4_t four = vpaddq_s32(vpaddlq_s16(sum[p][2 * i]), vpaddlq_s16(sum[p][2 * i + 1]));
        int32_t* to = m + p * kLanes + 4 * i;
        vst1q_s32(to, begin ? vaddq_s32(four, vld1q_s32(to)) : four);
      }
  }
}

template <int M>
void products(const PointProducts& of) {
  static constexpr TileProduct kKernels[] = {{2, tile<2>}, {1, tile<1>}};
  cut<M, kUsualGroup, 1>(kKernels, of);
}

}  // namespace

const WinogradKernels winograd2_neon = plain_around<2, Raise::none>(products<2>);
const WinogradKernels winograd4_neon = plain_around<4, Raise::none>(products<4>);

}  // namespace gxnor
#endif
