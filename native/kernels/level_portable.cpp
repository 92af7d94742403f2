// level (kernels.h): sums[position][16 lanes] to int8 levels, by counting the thresholds [rows][16] above each sum.
#include <cstring>

#include "kernels/kernels.h"

namespace gxnor {

void level_portable(const int32_t* sums, int count, const int32_t* thresholds, int rows, uint16_t flip, int lanes,
                    uint8_t* const* outputs) {
  for (int p = 0; p < count; ++p, sums += kLanes) {
    int32_t level[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) level[lane] = rows / 2;
    for (int row = 0; row < rows; ++row)
      for (int lane = 0; lane < kLanes; ++lane) level[lane] -= thresholds[row * kLanes + lane] > sums[lane];
    int8_t out[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      out[lane] = static_cast<int8_t>(flip >> lane & 1 ? -level[lane] : level[lane]);
    std::memcpy(outputs[p], out, lanes);
  }
}

}  // namespace gxnor
