// pack (kernels.h): sums[position][16 lanes] to the two bit planes of a ternary state, lane by lane.
#include "kernels/kernels.h"
#include "kernels/write_bits.h"

namespace gxnor {

void pack_portable(const int32_t* sums, int count, const int32_t thresholds[2][kLanes], uint16_t flip, int bytes,
                   uint8_t* const* outputs, int64_t plane) {
  for (int p = 0; p < count; ++p, sums += kLanes) {
    unsigned below = 0, above = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      below |= static_cast<unsigned>(sums[lane] < thresholds[0][lane]) << lane;
      above |= static_cast<unsigned>(sums[lane] >= thresholds[1][lane]) << lane;
    }
    for (int i = 0; i < 8 * bytes; i += 8)
      write_bits<uint8_t>(static_cast<uint8_t>(below >> i), static_cast<uint8_t>(above >> i),
                          static_cast<uint8_t>(flip >> i), outputs[p] + i / 8, plane);
  }
}

}  // namespace gxnor
