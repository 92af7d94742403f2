// Depthwise convolutions: every output channel is a product with one input channel.
#pragma once

#include <vector>

#include "engine/convolution.h"

namespace gxnor {

class Depthwise : public Step {
 public:
  static bool suits(const gxnor_layer& layer, int64_t channels);

  // Whether it reads states as bytes, whose sums 16 bits hold. input_space: N of the states, or below 0.
  static bool suits_bytes(const gxnor_layer& layer, int64_t channels, int input_space);

  // `states` (channels, 1, kernel height, kernel width); the input is int8 where `suits_bytes`, or int16 or int32. The
  // output, and what the epilogue has, are those of `fold`: of one pixel, or of the input as well and with strides of 1.
  Depthwise(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry, const States& states,
            const Fold& fold, Epilogue epilogue);

  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "product, depthwise"; }
  int64_t bytes() const override {
    return static_cast<int64_t>(sizeof *this + weights_.size() * sizeof(int16_t)) + epilogue_.bytes();
  }

 private:
  const int input_, output_;
  const Geometry geometry_;
  const Fold fold_;
  const Epilogue epilogue_;
  std::vector<int64_t> offsets_;  // bytes from a window's first pixel to each tap's
  std::vector<int16_t> weights_;  // [blocks][taps][16]
};

}  // namespace gxnor
