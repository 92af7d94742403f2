// sums[position][16 lanes] = sum over units of weight * activation, for activations of int8 (dot8), int16 (dot16) and int32
// (dot32), in plain loops: the slow form that defines the others, and the only one of dot32, which compilers vectorise.
// Layouts are in kernels.h.
#include <cstring>

#include "common/vectorise.h"
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

namespace {

GXNOR_BODY void dot32(const uint8_t* const* positions, int count, const int32_t* offsets, int units, const int8_t* weights,
                      int32_t* sums) {
  constexpr int kTogether = 4;  // positions that share the widening of weights
  for (int first = 0; first < count; first += kTogether) {
    const uint8_t* from[kTogether];
    for (int p = 0; p < kTogether; ++p) from[p] = positions[first + p < count ? first + p : first];
    int32_t sum[kTogether][kLanes] = {};
    const int8_t* w = weights;
    for (int u = 0; u < units; ++u, w += kLanes)
      for (int p = 0; p < kTogether; ++p) {
        int32_t x;
        std::memcpy(&x, from[p] + offsets[u], sizeof x);
        for (int lane = 0; lane < kLanes; ++lane) sum[p][lane] += x * w[lane];
      }
    for (int p = 0; p < kTogether && first + p < count; ++p)
      std::memcpy(sums + (first + p) * kLanes, sum[p], sizeof sum[p]);
  }
}

}  // namespace

void dot32_portable(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  vectorised<dot32>(positions, count, window.offsets, window.units, static_cast<const int8_t*>(weights), sums);
}

}  // namespace gxnor
