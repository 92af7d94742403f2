// level (kernels.h): sums[position][16 lanes] to int8 levels, by counting the thresholds [rows][16] above each sum; and
// line_level.
#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"

namespace gxnor {
namespace {

void write_levels(const int32_t* level, uint16_t flip, int lanes, uint8_t* output) {
  int8_t out[kLanes];
  for (int lane = 0; lane < kLanes; ++lane)
    out[lane] = static_cast<int8_t>(flip >> lane & 1 ? -level[lane] : level[lane]);
  std::memcpy(output, out, lanes);
}

}  // namespace

void level_portable(const int32_t* sums, int count, const int32_t* thresholds, int rows, uint16_t flip, int lanes,
                    uint8_t* const* outputs) {
  for (int p = 0; p < count; ++p, sums += kLanes) {
    int32_t level[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) level[lane] = rows / 2;
    for (int row = 0; row < rows; ++row)
      for (int lane = 0; lane < kLanes; ++lane) level[lane] -= thresholds[row * kLanes + lane] > sums[lane];
    write_levels(level, flip, lanes, outputs[p]);
  }
}

void line_level_portable(const int32_t* sums, int count, const Lines& lines, int rows, uint16_t flip, int lanes,
                         uint8_t* const* outputs) {
  const float top = static_cast<float>(rows);
  for (int p = 0; p < count; ++p, sums += kLanes) {
    int32_t level[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int32_t sum = sums[lane] + (sums[lane] > 0 ? lines.split[lane] : 0);
      const float reached = static_cast<float>(sum) * lines.scale[lane] + lines.offset[lane];
      level[lane] = static_cast<int32_t>(std::min(std::max(reached, 0.0f), top)) - rows / 2;
    }
    write_levels(level, flip, lanes, outputs[p]);
  }
}

}  // namespace gxnor
