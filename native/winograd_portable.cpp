#include "winograd_body.h"

namespace gxnor {
namespace {

void product(const uint8_t* v, int tiles, int quads, const int8_t* u, const int16_t* offsets, int16_t* m) {
  for (int tile = 0; tile < tiles; ++tile, v += 4 * quads, m += kLanes) {
    int32_t sum[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) sum[lane] = offsets[lane];
    for (int i = 0; i < 4 * quads; ++i)
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] += v[i] * u[(i / 4 * kLanes + lane) * 4 + i % 4];
    for (int lane = 0; lane < kLanes; ++lane) m[lane] = static_cast<int16_t>(sum[lane]);
  }
}

}  // namespace

const WinogradKernels winograd_portable = {plain<winograd_expand>, plain<winograd_enter>, product,
                                           plain<winograd_leave>};

}  // namespace gxnor
