// xnor (kernels.h) in plain 64-bit words: 16 output channels, one position at a time; a unit is 64 channels. Counts of set
// bits are kept per byte for 31 units, the most that 8 bits hold, before they are added up. This form defines the others.
#include <cstring>

#include "kernels/kernels.h"

namespace gxnor {
namespace {

// Bits set in each byte of x.
inline uint64_t byte_counts(uint64_t x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  return (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
}

// The sum of the eight bytes of x.
inline int32_t byte_sum(uint64_t x) {
  x = (x & 0x00ff00ff00ff00ffu) + ((x >> 8) & 0x00ff00ff00ff00ffu);
  return static_cast<int32_t>((x * 0x0001000100010001u) >> 48);
}

}  // namespace

void xnor_portable(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  constexpr int kPiece = 31;  // 31 counts of up to 8 fit a byte
  for (int p = 0; p < count; ++p, sums += kLanes) {
    std::memset(sums, 0, kLanes * sizeof *sums);
    const uint64_t* w = static_cast<const uint64_t*>(weights);
    for (int begin = 0; begin < window.units; begin += kPiece) {
      const int end = begin + kPiece < window.units ? begin + kPiece : window.units;
      uint64_t fired[kLanes] = {}, minus[kLanes] = {};
      for (int u = begin; u < end; ++u, w += 2 * kLanes) {
        uint64_t z, s;
        std::memcpy(&z, positions[p] + window.offsets[u], 8);
        std::memcpy(&s, positions[p] + window.offsets[u] + window.plane, 8);
        for (int lane = 0; lane < kLanes; ++lane) {
          const uint64_t gate = w[lane] & z;
          fired[lane] += byte_counts(gate);
          minus[lane] += byte_counts(gate & (w[kLanes + lane] ^ s));
        }
      }
      for (int lane = 0; lane < kLanes; ++lane) sums[lane] += byte_sum(fired[lane]) - 2 * byte_sum(minus[lane]);
    }
  }
}

}  // namespace gxnor
