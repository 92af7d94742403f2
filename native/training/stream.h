// The draws of gxnor/nn/stream.py.
#pragma once

#include <cstdint>

#include "common/vectorise.h"

namespace gxnor {

// u[i] = draw first + i of the stream with this key, uniform in [0, 1).
template <int kCount>
GXNOR_BODY void uniform_block(uint64_t key, int64_t first, float* u) {
  for (int i = 0; i < kCount; ++i) {
    uint64_t z = key + static_cast<uint64_t>(first + i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    u[i] = static_cast<float>(static_cast<int32_t>((z ^ (z >> 31)) >> 40)) * 0x1p-24f;
  }
}

}  // namespace gxnor
