// Packed state indices to indices and to bit planes (states.h).
#include "engine/states.h"

#include <algorithm>
#include <cstring>

namespace gxnor {
namespace {

// Indices of 8 / `each` bits, by table.
template <int each>
void spread(const uint8_t* packed, int64_t bytes, uint8_t* indices) {
  static const std::vector<uint8_t> table = [] {
    std::vector<uint8_t> table(256 * each);
    for (int byte = 0; byte < 256; ++byte)
      for (int i = 0; i < each; ++i)
        table[byte * each + i] = static_cast<uint8_t>(byte >> i * (8 / each) & ((1 << (8 / each)) - 1));
    return table;
  }();
  for (int64_t byte = 0; byte < bytes; ++byte) std::memcpy(indices + byte * each, &table[packed[byte] * each], each);
}

}  // namespace

const uint8_t* States::read(int64_t first, int64_t count, std::vector<uint8_t>& memory) const {
  const int each = 8 / storage();
  const int64_t begin = first / each, bytes = divide_up(first + count, each) - begin;
  memory.resize(static_cast<size_t>(bytes * each + kOverRead));
  switch (each) {
    case 8: spread<8>(packed + begin, bytes, memory.data()); break;
    case 4: spread<4>(packed + begin, bytes, memory.data()); break;
    case 2: spread<2>(packed + begin, bytes, memory.data()); break;
    default: spread<1>(packed + begin, bytes, memory.data());
  }
  const uint8_t* read = memory.data() + first % each;
  uint8_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, read[i]);
  if (largest > 1 << N) throw Failure{GXNOR_BAD_PROGRAM};
  return read;
}

typedef uint8_t Bytes __attribute__((vector_size(kOverRead)));

void to_planes(const uint8_t* indices, int fan, int taps, int N, int64_t bytes, uint8_t* nonzero, uint8_t* minus) {
  const uint8_t zero = N == 0 ? 255 : 1;  // the index that is level 0; 255 is none
  for (int first = 0; first < taps; first += kOverRead)
    for (int c = 0; c < fan; c += 8) {
      Bytes z = {}, s = {};
      for (int i = 0; i < std::min(8, fan - c); ++i) {
        Bytes row, bit;
        std::memcpy(&row, indices + int64_t{c + i} * taps + first, sizeof row);
        std::memset(&bit, 1 << i, sizeof bit);
        z |= (row != zero) & bit;
        s |= (row == 0) & bit;
      }
      for (int tap = first; tap < std::min(first + kOverRead, taps); ++tap) {
        nonzero[tap * bytes + c / 8] = z[tap - first];
        minus[tap * bytes + c / 8] = s[tap - first];
      }
    }
}

}  // namespace gxnor
