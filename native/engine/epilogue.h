// What is done to the sums of a convolution or dense layer while they are in the cache: thresholds, pooling, packing.
#pragma once

#include <memory>

#include "engine/plan.h"
#include "engine/residual.h"
#include "engine/thresholds.h"

namespace gxnor {

struct Epilogue {
  std::shared_ptr<const Thresholds> thresholds;  // none: sums stay sums
  bool flip;                                     // whether to finish the levels (thresholds.h)
  bool pooled;                                   // whether an output is the largest of a cell: 2 x 2 positions
  const Kernels& kernels;
  std::shared_ptr<const Residual> residual = nullptr;  // what comes before the thresholds; not of cells

  // sums[position][16 lanes] of a block of output channels, to the `count` pixels that begin at `outputs`. Of cells, the
  // sums of one lie together; they are overwritten. `others`: pixels of the value that is added, if any.
  void operator()(const Buffer& output, int block, int count, int32_t* sums, uint8_t* const* outputs,
                  const uint8_t* const* others) const;

  // The value that is added to the sums, or null.
  const Buffer* other() const { return residual && !residual->other.empty() ? &residual->other[0] : nullptr; }

  int cell() const { return pooled ? 4 : 1; }  // positions an output
  int side() const { return pooled ? 2 : 1; }

  uint16_t flips(int block) const { return flip ? thresholds->flips[block] : 0; }

  // Whether a kernel may apply the thresholds of all blocks up to `last` itself, and what it needs for one or two of them.
  bool packs(const Buffer& output, int last) const {
    return !residual && output.form == Form::bits && output.channels - last * kLanes > kLanes / 2;
  }
  Packing packing(const Buffer& output, int block, int blocks) const {
    const uint32_t second = blocks == 2 ? flips(block + 1) : 0;
    return {thresholds->block(block), flips(block) | second << kLanes, block * (kLanes / 8), output.plane};
  }

  int64_t bytes() const { return (thresholds ? thresholds->bytes() : 0) + (residual ? residual->bytes() : 0); }
};

}  // namespace gxnor
