// The layers that are little work: pixel by pixel, whatever form the values are held in.
#pragma once

#include <vector>

#include "engine/plan.h"
#include "engine/thresholds.h"

namespace gxnor {

// uint8 (batch, C, H, W) of pixels (space -1, entering as 2p - 255) or state indices to the first buffer.
class InputStep : public Step {
 public:
  InputStep(int output, int space) : output_(output), space_(space) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "input"; }

 private:
  const int output_, space_;
};

class ThresholdStep : public Step {
 public:
  ThresholdStep(int input, int output, Thresholds thresholds)
      : input_(input), output_(output), thresholds_(std::move(thresholds)) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "threshold"; }
  int64_t bytes() const override { return sizeof *this + thresholds_.bytes(); }

 private:
  const int input_, output_;
  const Thresholds thresholds_;
};

struct PoolWindow {
  int kernel[2], stride[2], padding[2], dilation[2];
};

// Largest value of each window; channels with a bit in `flips` (16 a word, or none at all) are negated afterwards.
class MaxPoolStep : public Step {
 public:
  MaxPoolStep(int input, int output, int channels, const PoolWindow& window, const std::vector<uint16_t>& flips);
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "max-pool"; }

 private:
  void levels(const Buffer& in, const std::vector<const uint8_t*>& seen, int8_t* to) const;
  void bits(const Buffer& in, const Buffer& out, const std::vector<const uint8_t*>& seen, uint8_t* to) const;

  const int input_, output_;
  const PoolWindow window_;
  std::vector<uint8_t> flips_;  // 8 channels a byte
  std::vector<int8_t> minus_;   // the same, -1 or 0 a channel
};

class SumPoolStep : public Step {
 public:
  SumPoolStep(int input, int output, const PoolWindow& window) : input_(input), output_(output), window_(window) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "sum-pool"; }

 private:
  const int input_, output_;
  const PoolWindow window_;
};

class AddStep : public Step {
 public:
  AddStep(const int inputs[2], const int32_t factors[2], int output)
      : inputs_{inputs[0], inputs[1]}, factors_{factors[0], factors[1]}, output_(output) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "add"; }

 private:
  const int inputs_[2];
  const int32_t factors_[2];
  const int output_;
};

// The same integers in another form.
class ConvertStep : public Step {
 public:
  ConvertStep(int input, int output) : input_(input), output_(output) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "convert"; }

 private:
  const int input_, output_;
};

// (C, H, W) to (C H W, 1, 1).
class FlattenStep : public Step {
 public:
  FlattenStep(int input, int output) : input_(input), output_(output) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "flatten"; }

 private:
  const int input_, output_;
};

// logits = float(x) * scale + bias
class ScaleStep : public Step {
 public:
  ScaleStep(int input, std::vector<float> scale, std::vector<float> bias)
      : input_(input), scale_(std::move(scale)), bias_(std::move(bias)) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "scale"; }

 private:
  const int input_;
  const std::vector<float> scale_, bias_;
};

}  // namespace gxnor
