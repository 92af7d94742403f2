// 16 output channels x up to 2 tiles, of signed bytes: the windows are not raised. A 16-bit sum for each of a quad's four
// channels, widened after as many quads as fit: F(2x2, 3x3) all of them (Winograd::suits), F(4x4, 3x3) a piece, added to the
// sums in memory.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels.h"
#include "winograd_body.h"

namespace gxnor {
namespace {

inline void widen(int32x4_t sum, bool, int16_t* m) { vst1_s16(m, vmovn_s32(sum)); }
inline void widen(int32x4_t sum, bool first, int32_t* m) { vst1q_s32(m, first ? sum : vaddq_s32(sum, vld1q_s32(m))); }

template <int M, int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const PointSum<M>*, const int32_t*, PointSum<M>* m, int piece) {
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
        widen(four, begin == 0, m + p * kLanes + 4 * i);
      }
  }
}

template <int M>
void products(const PointProducts<M>& of) {
  static constexpr TileProduct<M> kKernels[] = {{2, tile<M, 2>}, {1, tile<M, 1>}};
  cut<M, kUsualGroup, 1>(kKernels, of);
}

}  // namespace

const WinogradKernels<2> winograd2_neon = plain_around<2, Raise::none>(products<2>);
const WinogradKernels<4> winograd4_neon = plain_around<4, Raise::none>(products<4>);

}  // namespace gxnor
#endif
