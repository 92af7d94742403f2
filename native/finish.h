// What becomes of the sums of a convolution or dense layer.
#pragma once

#include <memory>

#include "plan.h"
#include "thresholds.h"

namespace gxnor {

struct Finish {
  std::shared_ptr<const Thresholds> thresholds;  // none: sums stay sums
  bool flip;                                     // whether to finish the levels (thresholds.h)
  bool pooled;                                   // whether an output is the largest of a cell: 2 x 2 positions
  const Kernels& kernels;

  // sums[position][16 lanes] of a block of output channels, to the `count` pixels that begin at `outputs`. Of cells, the
  // sums of one lie together; they are overwritten.
  void operator()(const Buffer& output, int block, int count, int32_t* sums, uint8_t* const* outputs) const;

  int cell() const { return pooled ? 4 : 1; }  // positions an output
  int side() const { return pooled ? 2 : 1; }

  uint16_t flips(int block) const { return flip ? thresholds->flips[block] : 0; }

  int64_t bytes() const { return thresholds ? thresholds->bytes() : 0; }
};

}  // namespace gxnor
