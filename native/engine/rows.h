// How a layer goes over its output, row by row.
#pragma once

#include <vector>

#include "common/threads.h"
#include "engine/plan.h"

namespace gxnor {

// Rows that are worth a hand-over to another thread.
inline int64_t row_grain(const Buffer& out) { return divide_up(16384, int64_t{out.width} * out.channels); }

// body(image, y) for every row of the output, shared among the run's threads.
template <typename F>
void each_row(const Run& run, const Buffer& out, F&& body) {
  parallel_for(run.images * out.height, row_grain(out), run.threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row / out.height, static_cast<int>(row % out.height));
  });
}

inline uint8_t* pixel(const Run& run, const std::vector<Buffer>& buffers, int buffer, int64_t image, int64_t y, int64_t x) {
  return run.scratch[buffer] + image * buffers[buffer].image + buffers[buffer].at(y, x);
}

}  // namespace gxnor
