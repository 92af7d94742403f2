// Weights as the description gives them: packed state indices.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/plan.h"

namespace gxnor {

constexpr int kOverRead = 16;

// The largest level of Z_N.
constexpr int64_t top_level(int N) { return N <= 1 ? 1 : int64_t{1} << (N - 1); }

// Packed state indices, `storage` bits each, low bits first.
struct States {
  const uint8_t* packed;
  int N;

  int storage() const { return N == 0 ? 1 : N == 1 ? 2 : N <= 3 ? 4 : 8; }
  // `count` indices from `first` on, in memory of the caller's, and kOverRead more that mean nothing. Throws Failure for
  // one that is not a state.
  const uint8_t* read(int64_t first, int64_t count, std::vector<uint8_t>& memory) const;
};

// From indices [fan][taps] of a binary or ternary space to bits [taps][bytes], 8 channels a byte. Reads kOverRead indices
// too many.
void to_planes(const uint8_t* indices, int fan, int taps, int N, int64_t bytes, uint8_t* nonzero, uint8_t* minus);

}  // namespace gxnor
