// The last step of kernels, the same on every instruction set: two comparisons become the bytes of both planes, lanes bytes.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/vectorise.h"

namespace gxnor {

// The states of as many channels as Bits has, to their bytes of both planes: `below` the low threshold, or not below the
// high one; those of channels with a bit in `flip` are reversed.
template <typename Bits>
GXNOR_BODY void write_bits(Bits below, Bits above, Bits flip, uint8_t* to, int64_t plane) {
  const Bits nonzero = below | above, minus = below ^ (flip & nonzero);
  std::memcpy(to, &nonzero, sizeof nonzero);
  std::memcpy(to + plane, &minus, sizeof minus);
}

// The first of 16 lanes, fewer than all: pieces of a size that the compiler knows take an instruction each, not a call.
template <typename T>
GXNOR_BODY void write_lanes(const T* from, int lanes, uint8_t* to) {
  int at = 0;
  if (lanes & 8) std::memcpy(to, from, 8 * sizeof(T)), at = 8;
  if (lanes & 4) std::memcpy(to + at * sizeof(T), from + at, 4 * sizeof(T)), at += 4;
  if (lanes & 2) std::memcpy(to + at * sizeof(T), from + at, 2 * sizeof(T)), at += 2;
  if (lanes & 1) std::memcpy(to + at * sizeof(T), from + at, sizeof(T));
}

}  // namespace gxnor
