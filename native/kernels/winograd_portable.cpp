// The products of points (kernels.h) in plain loops: 16 output channels x 1 tile. This form defines the others.
#include "kernels/winograd_body.h"

namespace gxnor {
namespace {

void tile(const uint8_t* v, int quads, const int8_t* u, const int32_t* offsets, const int32_t*, int32_t* m, int) {
  int32_t sum[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) sum[lane] = offsets[lane];
  for (int i = 0; i < 4 * quads; ++i)
    for (int lane = 0; lane < kLanes; ++lane) sum[lane] += v[i] * u[(i / 4 * kLanes + lane) * 4 + i % 4];
  for (int lane = 0; lane < kLanes; ++lane) m[lane] = sum[lane];
}

template <int M>
void products(const PointProducts& of) {
  static constexpr TileProduct kKernels[] = {{1, tile}};
  cut<M, kUsualGroup, 1>(kKernels, of);
}

}  // namespace

const WinogradKernels winograd2_portable = plain_around<2>(products<2>);
const WinogradKernels winograd4_portable = plain_around<4>(products<4>);

}  // namespace gxnor
