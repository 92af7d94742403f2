// 16 output channels x up to 2 tiles. A 16-bit sum for each of a quad's four channels: 72 a quad, 224 quads at the most.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels.h"
#include "winograd_body.h"

namespace gxnor {
namespace {

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int16_t* offsets, int16_t* m, int) {
  int16x8_t sum[P][8];  // two channels each
  for (int p = 0; p < P; ++p)
    for (int i = 0; i < 8; ++i) sum[p][i] = vdupq_n_s16(0);
  for (int q = 0; q < quads; ++q, u += 64) {
    for (int p = 0; p < P; ++p) {
      int32_t quad;
      __builtin_memcpy(&quad, v + 4 * (int64_t{p} * quads + q), 4);
      const int8x8_t x = vreinterpret_s8_s32(vdup_n_s32(quad));  // 0..8: signed or not
      for (int i = 0; i < 8; ++i) sum[p][i] = vmlal_s8(sum[p][i], x, vld1_s8(u + 8 * i));
    }
  }
  for (int p = 0; p < P; ++p)
    for (int half = 0; half < 2; ++half) {
      int32x4_t lanes[2];
      for (int i = 0; i < 2; ++i) {
        const int16x8_t* four = sum[p] + 4 * half + 2 * i;
        lanes[i] = vpaddq_s32(vpaddlq_s16(four[0]), vpaddlq_s16(four[1]));
      }
      const int16x8_t start = vld1q_s16(offsets + 8 * half);
      lanes[0] = vaddw_s16(lanes[0], vget_low_s16(start));
      lanes[1] = vaddw_s16(lanes[1], vget_high_s16(start));
      vst1q_s16(m + p * kLanes + 8 * half, vcombine_s16(vmovn_s32(lanes[0]), vmovn_s32(lanes[1])));
    }
}

void products(const PointProducts<2>& of) {
  static constexpr TileProduct<2> kKernels[] = {{2, tile<2>}, {1, tile<1>}};
  cut<2, kUsualGroup, 1>(kKernels, of);
}

}  // namespace

const WinogradKernels<2> winograd2_neon = plain_around<2>(products);

}  // namespace gxnor
#endif
