// Layers after a sum that are done while it is in the cache.
#pragma once

#include <vector>

#include "engine/epilogue.h"
#include "engine/placement.h"

namespace gxnor {

// Layers after a value that an epilogue does, by number, or 0: a requantization, a sum with a value that is there, a pool
// and thresholds. `last` is the value that is written.
struct Fused {
  int value, last;
  int requantize = 0, add = 0, pool = 0, threshold = 0;

  explicit Fused(int value) : value(value), last(value) {}
};

// `reader` is the first such layer where the value is there as well, else 0.
Fused fuse(const Placement& placement, int value, int reader);

// The buffer of what is made of value `number`; those between are in no other.
int make(Placement& placement, int number, const Fused& fused);

// The pixels of these buffers, and of the one that is added, that are computed as one.
Fold fold_of(const Placement& placement, const Fused& fused, std::vector<int> buffers);

// flip: whether to finish the levels (thresholds.h).
Epilogue epilogue(Placement& placement, const Kernels& kernels, const Fused& fused, const Fold& fold, bool flip = true);

}  // namespace gxnor
