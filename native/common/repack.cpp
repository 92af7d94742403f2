// States from the radix code of files to the bit code in memory; the reference is _radix_to_bits in gxnor/packing.py.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "common/gxnor.h"

void gxnor_repack(const uint8_t* packed, int64_t size, const uint16_t* table, int32_t wide, uint8_t* out,
                  int64_t out_size) {
  const int step = wide / 2;  // bytes that four become
  for (; size >= 4 && out_size >= 8; packed += 4, size -= 4, out += step, out_size -= step) {
    uint64_t bits = 0;
    for (int i = 0; i < 4; ++i) bits |= uint64_t{table[packed[i]]} << i * wide;
    std::memcpy(out, &bits, 8);
  }
  for (; size > 0; packed += 4, size -= 4, out += step, out_size -= step) {
    uint64_t bits = 0;
    for (int i = 0; i < std::min<int64_t>(size, 4); ++i) bits |= uint64_t{table[packed[i]]} << i * wide;
    for (int i = 0; i < std::min<int64_t>(step, out_size); ++i) out[i] = static_cast<uint8_t>(bits >> 8 * i);
  }
}
