// Convolutions and dense layers, their thresholds included.
#pragma once

#include <memory>
#include <vector>

#include "engine/epilogue.h"
#include "engine/fold.h"
#include "engine/plan.h"
#include "engine/states.h"

namespace gxnor {

inline bool both(const int pair[2], int value) { return pair[0] == value && pair[1] == value; }

struct Geometry {
  int kernel[2], stride[2], padding[2], dilation[2], groups;
};

// What is never zero where both spaces are binary or ternary. Padding is zero, and with groups, or pixels side by side, so
// are weights.
Xnor xnor_of(const Geometry& geometry, int input_space, int weight_space, const Fold& fold);

class Convolution : public Step {
 public:
  // Whether pixels as bytes take less than as int16, and the weights, doubled or added up over the channels, fit in bytes.
  static bool suits_pixels(int channels, int groups, int space);

  // Whether sums of bits are looked up, where the machine has a kernel for that, instead of counted: for so many blocks at
  // once, and fours of channels (Window) in so many units.
  static bool looks_up(const Kernels& kernels, Xnor xnor, int blocks, int64_t groups, int64_t units);

  // `states` (out, in / groups, kernel height, kernel width). The input's form decides the product: bits for spaces up
  // to ternary, int8, int16 and int32 for all, pixels where `suits_pixels`. `xnor` is what xnor_of gives. The output, and
  // what the epilogue has, are those of `fold`, which is of one pixel where there are groups.
  Convolution(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry, const States& states,
              Xnor xnor, const Kernels& kernels, int threads, const Fold& fold, Epilogue epilogue);

  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return name_; }
  int64_t bytes() const override;

 private:
  Grid windows(const std::vector<Buffer>& buffers, const Run& run) const;
  // Bytes from the window of an output to those of its neighbours.
  int64_t down(const Buffer& in) const { return geometry_.stride[0] * in.row; }
  int64_t right(const Buffer& in) const { return fold_.pixels * geometry_.stride[1] * in.pixel; }

  void arrange(const Buffer& input, const States& states, int threads);
  std::vector<int32_t> cover(const std::vector<int64_t>& taps, int64_t low, int64_t high) const;
  void count_groups();
  int place_bits(const std::vector<int32_t>& table, int64_t start, const uint8_t* nonzero, const uint8_t* minus,
                 uint8_t* block) const;
  int place_levels(const std::vector<int32_t>& table, int64_t start, Form form, const uint8_t* indices, int N,
                   uint8_t* block) const;

  const int input_, output_;
  const Geometry geometry_;
  const Fold fold_;
  const Epilogue epilogue_;
  Product product_;
  Dot8Pack pack_;  // null where the thresholds are no kernel's, but `epilogue_`'s
  const char* name_;
  int channels_, fan_, taps_, blocks_, units_ = 0;
  int unit_bytes_, lane_bytes_;  // of activations, and of one channel's weights for them
  int start_bytes_;              // of what stands before a block's weights
  int raise_, piece_, at_once_;  // kernels.h
  std::vector<int32_t> offsets_;      // [units], or [blocks][units] for grouped convolutions
  std::vector<uint8_t> groups_;       // the same, of bits (kernels.h)
  aligned_vector<uint8_t> weights_;   // [blocks][as the product has it]
};

}  // namespace gxnor
