// The draws of gxnor/nn/stream.py.
#pragma once

#include <cstdint>

#include "common/vectorise.h"

namespace gxnor {

// Multiples of the stream's step, which no vector instruction before AVX-512 multiplies by.
template <int kCount>
struct StreamSteps {
  uint64_t of[kCount];
  constexpr StreamSteps() : of() {
    for (int i = 0; i < kCount; ++i) of[i] = static_cast<uint64_t>(i) * 0x9E3779B97F4A7C15u;
  }
};

// u[i] = draw first + i of the stream with this key, uniform in [0, 1). Its last step, z ^ z >> 31, does not reach the 24
// bits that are used.
template <int kCount>
GXNOR_BODY void uniform_block(uint64_t key, int64_t first, float* u) {
  static constexpr StreamSteps<kCount> kSteps;
  const uint64_t begin = key + static_cast<uint64_t>(first + 1) * 0x9E3779B97F4A7C15u;
  int32_t bits[kCount];
  for (int i = 0; i < kCount; ++i) {
    uint64_t z = begin + kSteps.of[i];
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    bits[i] = static_cast<int32_t>(z >> 40);
  }
  for (int i = 0; i < kCount; ++i) u[i] = static_cast<float>(bits[i]) * 0x1p-24f;
}

}  // namespace gxnor
