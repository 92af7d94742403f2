// The loop of steps whose sums an epilogue takes: strips of pixels, block by block.
#pragma once

#include <algorithm>
#include <optional>

#include "common/threads.h"
#include "engine/blocks.h"
#include "engine/epilogue.h"

namespace gxnor {

// sums(first, count, block, to) gives those of a block of channels of some pixels of the output, which the epilogue then
// takes.
template <typename F>
void each_strip(const Run& run, const Buffer& out, const Epilogue& epilogue, int output, F&& sums) {
  const int64_t pixels = run.images * out.pixels(), strips = divide_up(pixels, kStrip),
                blocks = divide_up(out.channels, kLanes);
  const Positions outputs(out.grid(run.scratch[output]), run.images);
  std::optional<Positions> added;
  if (epilogue.other()) added.emplace(epilogue.other()->grid(run.scratch[epilogue.residual->at]), run.images);
  parallel_for(strips, divide_up(16384, int64_t{kStrip} * out.channels), run.threads, [&](int64_t begin, int64_t end) {
    alignas(64) int32_t values[kStrip * kLanes];
    uint8_t *to[kStrip], *others[kStrip];
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t first = strip * kStrip;
      const int count = static_cast<int>(std::min<int64_t>(kStrip, pixels - first));
      outputs.locate(first, count, to);
      if (added) added->locate(first, count, others);
      for (int block = 0; block < blocks; ++block) {
        sums(first, count, block, values);
        epilogue(out, block, count, values, to, others);
      }
    }
  });
}

}  // namespace gxnor
