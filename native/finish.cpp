#include "finish.h"

#include <algorithm>
#include <cstring>

namespace gxnor {

void Finish::operator()(const Buffer& output, int block, int count, const int32_t* sums, uint8_t* const* outputs) const {
  const int lanes = std::min(kLanes, output.channels - block * kLanes);
  const uint16_t flips = thresholds && flip ? thresholds->flips[block] : 0;
  if (output.form == Form::bits) {
    const auto* steps = reinterpret_cast<const int32_t(*)[kLanes]>(thresholds->block(block));
    constexpr int kSome = 64;
    uint8_t* to[kSome];
    for (int first = 0; first < count; first += kSome) {
      const int some = std::min(kSome, count - first);
      for (int p = 0; p < some; ++p) to[p] = outputs[first + p] + block * (kLanes / 8);
      pack(sums + int64_t{first} * kLanes, some, steps, flips, (lanes + 7) / 8, to, output.plane);
    }
    return;
  }
  for (int p = 0; p < count; ++p, sums += kLanes) {
    if (output.form == Form::int32) {
      std::memcpy(outputs[p] + block * kLanes * sizeof(int32_t), sums, lanes * sizeof(int32_t));
      continue;
    }
    int32_t levels[kLanes];
    thresholds->levels(sums, block, levels);
    int16_t out16[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      out16[lane] = static_cast<int16_t>(flips >> lane & 1 ? -levels[lane] : levels[lane]);
    std::memcpy(outputs[p] + block * kLanes * sizeof(int16_t), out16, lanes * sizeof(int16_t));
  }
}

}  // namespace gxnor
