#include <cstring>

#include "kernels.h"

namespace gxnor {

void pack_portable(const int32_t* sums, int count, const int32_t thresholds[2][kLanes], uint16_t flip, int bytes,
                   uint8_t* const* outputs, int64_t plane) {
  for (int p = 0; p < count; ++p, sums += kLanes) {
    unsigned minus = 0, plus = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      minus |= static_cast<unsigned>(sums[lane] < thresholds[0][lane]) << lane;
      plus |= static_cast<unsigned>(sums[lane] >= thresholds[1][lane]) << lane;
    }
    const unsigned nonzero = minus | plus, sign = minus ^ (flip & nonzero);
    for (int byte = 0; byte < bytes; ++byte) {
      outputs[p][byte] = static_cast<uint8_t>(nonzero >> 8 * byte);
      outputs[p][plane + byte] = static_cast<uint8_t>(sign >> 8 * byte);
    }
  }
}

}  // namespace gxnor
