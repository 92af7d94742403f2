// Small integers, held as floats, to bits: how both the saved states and the saved windows are written.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/vectorise.h"

namespace gxnor {

constexpr int kPackBlock = 1024;  // levels at a time

// level[size], size <= kPackBlock, integers that fit the bits -> out[ceil(size * bits / 8)], the first in the lowest bits.
// bits 1, 2, 4 or 8.
GXNOR_BODY void pack_levels(const float* level, int size, int bits, uint8_t* out) {
  uint8_t byte[kPackBlock + 8];
  std::memset(byte + size, 0, 8);
  for (int i = 0; i < size; ++i) byte[i] = static_cast<uint8_t>(static_cast<int>(level[i]));
  if (bits == 1) {
    for (int i = 0; i < (size + 7) / 8; ++i) {
      uint64_t v;
      std::memcpy(&v, byte + 8 * i, 8);
      out[i] = static_cast<uint8_t>((v * 0x0102040810204080u) >> 56);
    }
  } else if (bits == 2) {
    for (int i = 0; i < (size + 3) / 4; ++i) {
      uint32_t v;
      std::memcpy(&v, byte + 4 * i, 4);
      v |= v >> 6;
      out[i] = static_cast<uint8_t>((v & 15) | ((v >> 12) & 240));
    }
  } else if (bits == 8) {
    std::memcpy(out, byte, size);
  } else {
    for (int i = 0; i < (size + 1) / 2; ++i) out[i] = static_cast<uint8_t>(byte[2 * i] | byte[2 * i + 1] << 4);
  }
}

}  // namespace gxnor
