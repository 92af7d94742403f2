#include "winograd_body.h"

namespace gxnor {
namespace {

template <int M>
void product(const uint8_t* v, int tiles, int quads, const int8_t* u, int, const PointSum<M>* offsets, PointSum<M>* m,
             int) {
  for (int tile = 0; tile < tiles; ++tile, v += 4 * quads, m += kLanes) {
    int32_t sum[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) sum[lane] = offsets[lane];
    for (int i = 0; i < 4 * quads; ++i)
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] += v[i] * u[(i / 4 * kLanes + lane) * 4 + i % 4];
    for (int lane = 0; lane < kLanes; ++lane) m[lane] = static_cast<PointSum<M>>(sum[lane]);
  }
}

}  // namespace

const WinogradKernels<2> winograd2_portable = {
    plain<winograd_spread>, plain<winograd_expand<2, 32>>,
    plain<winograd_enter<2, 32>>, product<2>, plain<winograd_leave<2, 32>>, nullptr, 1, kNearStrip};
const WinogradKernels<4> winograd4_portable = {
    plain<winograd_spread>, plain<winograd_expand<4, 32>>,
    plain<winograd_enter<4, 32>>, product<4>, plain<winograd_leave<4, 32>>, nullptr, 1, kNearStrip};

}  // namespace gxnor
