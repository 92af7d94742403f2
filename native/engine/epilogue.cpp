// Thresholds and 2 x 2 pooling, applied to sums in the cache (epilogue.h).
#include "engine/epilogue.h"

#include <algorithm>
#include <cstring>

#include "common/vectorise.h"
#include "engine/blocks.h"

namespace gxnor {
namespace {

// sums[i] = the largest of the cell that begins at sums[4 i].
GXNOR_BODY void largest_of_cells(int32_t* sums, int count) {
  const int32_t* from = sums;
  for (int i = 0; i < count; ++i, from += 4 * kLanes, sums += kLanes) {
    int32_t largest[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      largest[lane] = std::max(std::max(from[lane], from[kLanes + lane]),
                               std::max(from[2 * kLanes + lane], from[3 * kLanes + lane]));
    std::memcpy(sums, largest, sizeof largest);
  }
}

}  // namespace

void Epilogue::operator()(const Buffer& output, int block, int count, int32_t* sums, uint8_t* const* outputs,
                          const uint8_t* const* others) const {
  if (pooled) vectorised<largest_of_cells>(sums, count);
  if (residual) (*residual)(block, count, sums, others);
  if (!thresholds) return store_block(output, block, count, sums, outputs);
  const int lanes = std::min(kLanes, output.channels - block * kLanes);
  const uint16_t flips = this->flips(block);
  const int32_t* const steps = thresholds->block(block);
  const auto level = [&](int some, int lanes, uint8_t* const* to) {
    if (const Lines* const lines = thresholds->line(block))
      return kernels.line_level(sums, some, *lines, thresholds->rows, flips, lanes, to);
    kernels.level(sums, some, steps, thresholds->rows, flips, lanes, to);
  };
  constexpr int kSome = 64;
  uint8_t* to[kSome];
  for (int first = 0; first < count; first += kSome, sums += kSome * kLanes) {
    const int some = std::min(kSome, count - first);
    if (output.form == Form::bits) {
      for (int p = 0; p < some; ++p) to[p] = outputs[first + p] + block * (kLanes / 8);
      kernels.pack(sums, some, reinterpret_cast<const int32_t(*)[kLanes]>(steps), flips, (lanes + 7) / 8, to, output.plane);
    } else if (output.form == Form::int8) {
      for (int p = 0; p < some; ++p) to[p] = outputs[first + p] + block * kLanes;
      level(some, lanes, to);
    } else {
      int8_t levels[kSome][kLanes];
      for (int p = 0; p < some; ++p) to[p] = reinterpret_cast<uint8_t*>(levels[p]);
      level(some, kLanes, to);
      for (int p = 0; p < some; ++p) {
        int16_t wide[kLanes];
        std::copy(levels[p], levels[p] + kLanes, wide);
        std::memcpy(outputs[first + p] + block * kLanes * sizeof(int16_t), wide, lanes * sizeof(int16_t));
      }
    }
  }
}

}  // namespace gxnor
