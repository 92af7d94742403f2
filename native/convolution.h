// Convolutions and dense layers, their thresholds included.
#pragma once

#include <memory>
#include <vector>

#include "plan.h"
#include "thresholds.h"

namespace gxnor {

// Packed state indices, `storage` bits each, low bits first.
struct States {
  const uint8_t* packed;
  int N;

  int storage() const { return N == 0 ? 1 : N == 1 ? 2 : N <= 3 ? 4 : 8; }
  // `count` indices from `first` on, in memory of the caller's. Throws Failure for one that is no state.
  const uint8_t* read(int64_t first, int64_t count, std::vector<uint8_t>& memory) const;
};

struct Geometry {
  int kernel[2], stride[2], padding[2], dilation[2], groups;
};

class Convolution : public Step {
 public:
  // `states` (out, in / groups, kernel height, kernel width). The input's form decides the product: bits for spaces up
  // to ternary, int16 and int32 for all. With `thresholds`, the output holds levels and `flip` says whether to finish
  // them; without, sums.
  Convolution(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry, const States& states,
              const Kernels& kernels, int threads, std::unique_ptr<Thresholds> thresholds, bool flip);

  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  int64_t bytes() const override;

 private:
  void arrange(const Buffer& input, const States& states, int threads);
  void finish(const Buffer& output, int block, int count, const int32_t* sums, uint8_t* const* outputs) const;

  const int input_, output_;
  const Geometry geometry_;
  const std::unique_ptr<Thresholds> thresholds_;
  const bool flip_;
  Product product_;
  Pack pack_;
  int channels_, fan_, taps_, blocks_, units_;
  int unit_bytes_, lane_bytes_;  // of activations, and of one channel's weights for them
  std::vector<int32_t> offsets_;      // [units], or [blocks][units] for grouped convolutions
  aligned_vector<uint8_t> weights_;   // [blocks][units][as the product has it]
};

}  // namespace gxnor
