// The draws of gxnor/nn/stream.py.
#pragma once

#include <cstdint>

#include "common/vectorise.h"

namespace gxnor {

constexpr uint64_t kStreamStep = 0x9E3779B97F4A7C15u;

// Multiples of the stream's step, which no vector instruction before AVX-512 multiplies by.
template <int kCount>
struct StreamSteps {
  uint64_t of[kCount];
  constexpr StreamSteps() : of() {
    for (int i = 0; i < kCount; ++i) of[i] = static_cast<uint64_t>(i) * kStreamStep;
  }
};

// Where draw `first` of the stream with this key begins.
GXNOR_BODY uint64_t stream_begin(uint64_t key, int64_t first) {
  return key + static_cast<uint64_t>(first + 1) * kStreamStep;
}

// The 24 bits of the draw that begins there. The stream's last step, z ^ z >> 31, does not reach them.
GXNOR_BODY int32_t stream_bits(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<int32_t>(z >> 40);
}

// u[i] = draw first + i of the stream with this key, uniform in [0, 1), i < n <= kCount.
template <int kCount>
GXNOR_BODY void uniform_some(uint64_t key, int64_t first, int n, float* u) {
  static constexpr StreamSteps<kCount> kSteps;
  const uint64_t begin = stream_begin(key, first);
  int32_t bits[kCount];
  for (int i = 0; i < n; ++i) bits[i] = stream_bits(begin + kSteps.of[i]);
  for (int i = 0; i < n; ++i) u[i] = static_cast<float>(bits[i]) * 0x1p-24f;
}

template <int kCount>
GXNOR_BODY void uniform_block(uint64_t key, int64_t first, float* u) {
  uniform_some<kCount>(key, first, kCount, u);
}

}  // namespace gxnor
