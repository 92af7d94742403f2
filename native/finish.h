// What becomes of the sums of a convolution or dense layer.
#pragma once

#include <memory>

#include "plan.h"
#include "thresholds.h"

namespace gxnor {

struct Finish {
  std::shared_ptr<const Thresholds> thresholds;  // none: sums stay sums
  bool flip;                                     // whether to finish the levels (thresholds.h)
  const Kernels& kernels;

  // sums[position][16 lanes] of a block of output channels, to the pixels that begin at `outputs`.
  void operator()(const Buffer& output, int block, int count, const int32_t* sums, uint8_t* const* outputs) const;

  uint16_t flips(int block) const { return flip ? thresholds->flips[block] : 0; }

  int64_t bytes() const { return thresholds ? thresholds->bytes() : 0; }
};

}  // namespace gxnor
