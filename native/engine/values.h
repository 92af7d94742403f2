// What is known of a program's values before any data: shapes, bounds, readers. Finds every error in a description except in
// the packed states, which are checked as they are read.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/plan.h"

namespace gxnor {

constexpr int kPixels = -1, kSums = -2;  // instead of a space's N

struct Value {
  int64_t channels, height, width;
  int64_t bound;  // no integer is larger in size; below INT32_MAX
  int space;
  std::vector<int> readers;        // layers, from 1
  int margin[2] = {0, 0};          // the largest padding of a layer that reads it, but for max-pools
  int buffer = -1, as_bytes = -1;  // for the compiler: where it is, and where bits are as bytes, for products

  int64_t elements() const { return channels * height * width; }
};

// The numbers of the values that a layer reads. Throws Failure.
std::vector<int> inputs_of(const gxnor_layer& layer);

// Value 0 and the output of every layer. Throws Failure; `layer` is then the number of the layer at fault, or 0.
std::vector<Value> infer(const gxnor_input& input, const gxnor_layer* layers, int count, int32_t& layer);

}  // namespace gxnor
