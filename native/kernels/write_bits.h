// The last step of pack (kernels.h), the same on every instruction set: two comparisons become the bytes of both planes.
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

}  // namespace gxnor
