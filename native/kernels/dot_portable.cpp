// sums[position][16 lanes] = sum over units of weight * activation, for activations of int8 (dot8), int16 (dot16) and int32
// (dot32), in plain loops: the slow form that defines the others, and the only one of dot32, whose values no ordinary
// network has. Layouts are in kernels.h.
#include <cstring>

#include "kernels/kernels.h"

namespace gxnor {

void dot8_portable(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (int p = 0; p < count; ++p, sums += kLanes) {
    int32_t sum[kLanes] = {};
    const int8_t* w = static_cast<const int8_t*>(weights) + kLanes * sizeof(int32_t);  // nothing is raised here
    for (int u = 0; u < window.units; ++u, w += 4 * kLanes) {
      int8_t x[4];
      std::memcpy(x, positions[p] + window.offsets[u], sizeof x);
      for (int lane = 0; lane < kLanes; ++lane)
        for (int c = 0; c < 4; ++c) sum[lane] += x[c] * w[4 * lane + c];
    }
    std::memcpy(sums, sum, sizeof sum);
  }
}

void dot16_portable(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (int p = 0; p < count; ++p, sums += kLanes) {
    int32_t sum[kLanes] = {};
    const int8_t* w = static_cast<const int8_t*>(weights);
    for (int u = 0; u < window.units; ++u, w += 2 * kLanes) {
      int16_t x[2];
      std::memcpy(x, positions[p] + window.offsets[u], sizeof x);
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] += x[0] * w[2 * lane] + x[1] * w[2 * lane + 1];
    }
    std::memcpy(sums, sum, sizeof sum);
  }
}

void dot32_portable(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (int p = 0; p < count; ++p, sums += kLanes) {
    int32_t sum[kLanes] = {};
    const int8_t* w = static_cast<const int8_t*>(weights);
    for (int u = 0; u < window.units; ++u, w += kLanes) {
      int32_t x;
      std::memcpy(&x, positions[p] + window.offsets[u], sizeof x);
      for (int lane = 0; lane < kLanes; ++lane) sum[lane] += x * w[lane];
    }
    std::memcpy(sums, sum, sizeof sum);
  }
}

}  // namespace gxnor
