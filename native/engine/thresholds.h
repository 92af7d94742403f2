// Batch norm and activation as integer steps.
//
// A channel with sign -1 has  level(x) = -count(x >= 1 - t) + half,  so with steps 1 - t in reverse it computes the
// negated level, which grows with x like all others, and is negated at the end where `flips` has its bit. What grows with x
// commutes with max-pooling, so a pool may stand between the two.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/fold.h"
#include "engine/line.h"
#include "kernels/kernels.h"

namespace gxnor {

struct Thresholds {
  int rows;                     // steps of a channel; a binary space has its one step twice, which makes levels -1 and 1
  std::vector<int32_t> values;  // [blocks][rows][16]
  std::vector<uint16_t> flips;  // [blocks]
  std::vector<std::optional<Lines>> lines;  // [blocks], where steps lie on lines in all lanes; none of few steps

  // thresholds [channels][count], for values up to `bound` in size; bound < INT32_MAX.
  Thresholds(int N, const Fold& fold, const int32_t* thresholds, const int8_t* sign, int64_t bound)
      : rows(N == 0 ? 2 : 1 << N) {
    const int count = 1 << N, blocks = (fold.lanes() - 1) / kLanes + 1;
    values.resize(static_cast<size_t>(blocks) * rows * kLanes);
    flips.resize(blocks);
    for (int lane = 0; lane < blocks * kLanes; ++lane) {
      const int c = fold.channel(lane);
      const bool real = c >= 0, flip = real && sign[c] < 0;
      if (flip) flips[lane / kLanes] |= static_cast<uint16_t>(1u << lane % kLanes);
      for (int row = 0; row < rows; ++row) {
        // Lanes that no channel has stay at zero, the ternary level of low <= 0 < high.
        int64_t step = row < rows / 2 ? -bound : bound + 1;
        if (real) {
          const int k = N == 0 ? 0 : flip ? count - 1 - row : row;
          step = thresholds[static_cast<int64_t>(c) * count + k];
          if (flip) step = 1 - step;
        }
        values[(static_cast<size_t>(lane / kLanes) * rows + row) * kLanes + lane % kLanes] =
            static_cast<int32_t>(std::clamp(step, -bound, bound + 1));
      }
    }
    constexpr int kFew = 4;  // steps that are compared as fast
    for (int at = 0; rows > kFew && at < blocks; ++at) lines.push_back(lines_of(at, static_cast<int32_t>(bound)));
  }

  const int32_t* block(int64_t block) const { return values.data() + block * rows * kLanes; }

  // Levels of a block's 16 channels, not yet flipped.
  void levels(const int32_t* sums, int64_t at, int32_t* out) const {
    int32_t count[kLanes] = {};
    const int32_t* steps = block(at);
    for (int row = 0; row < rows; ++row, steps += kLanes)
      for (int lane = 0; lane < kLanes; ++lane) count[lane] += sums[lane] >= steps[lane];
    for (int lane = 0; lane < kLanes; ++lane) out[lane] = count[lane] - rows / 2;
  }

  // The lines of a block, or null.
  const Lines* line(int64_t block) const { return !lines.empty() && lines[block] ? &*lines[block] : nullptr; }

  int64_t bytes() const {
    return static_cast<int64_t>(values.size() * sizeof(int32_t) + flips.size() * sizeof(uint16_t) +
                                lines.size() * sizeof(std::optional<Lines>));
  }

 private:
  std::optional<Lines> lines_of(int at, int32_t bound) const {
    Lines found;
    std::vector<int32_t> steps(rows);
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int row = 0; row < rows; ++row) steps[row] = block(at)[row * kLanes + lane];
      const std::optional<Line> line = line_of(steps, bound);
      if (!line) return std::nullopt;
      found.scale[lane] = line->scale;
      found.offset[lane] = line->offset;
      found.split[lane] = -line->split;
    }
    return found;
  }
};

}  // namespace gxnor
