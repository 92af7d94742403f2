// The layers that take little time, computed pixel by pixel, in whatever form the values are held.
#pragma once

#include <vector>

#include "engine/epilogue.h"
#include "engine/plan.h"

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

// What an epilogue makes of a value, pixel by pixel: thresholds, a requantization, a sum, another form.
class PointwiseStep : public Step {
 public:
  PointwiseStep(int input, int output, Epilogue epilogue, const char* name)
      : input_(input), output_(output), epilogue_(std::move(epilogue)), name_(name) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return name_; }
  int64_t bytes() const override { return static_cast<int64_t>(sizeof *this) + epilogue_.bytes(); }

 private:
  const int input_, output_;
  const Epilogue epilogue_;
  const char* const name_;
};

struct PoolWindow {
  int kernel[2], stride[2], padding[2], dilation[2];
};

// Sum of each window, and what an epilogue makes of it.
class SumPoolStep : public Step {
 public:
  SumPoolStep(int input, int output, const PoolWindow& window, Epilogue epilogue)
      : input_(input), output_(output), window_(window), epilogue_(std::move(epilogue)) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "sum-pool"; }
  int64_t bytes() const override { return static_cast<int64_t>(sizeof *this) + epilogue_.bytes(); }

 private:
  const int input_, output_;
  const PoolWindow window_;
  const Epilogue epilogue_;
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

// Channels of all inputs, one after the other; those that are parts of the output are there already.
class ConcatStep : public Step {
 public:
  ConcatStep(std::vector<int> inputs, int output) : inputs_(std::move(inputs)), output_(output) {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "concat"; }

 private:
  const std::vector<int> inputs_;
  const int output_;
};

// Every pixel factors[0] x factors[1] times.
class UpsampleStep : public Step {
 public:
  UpsampleStep(int input, int output, const int32_t factors[2])
      : input_(input), output_(output), factors_{factors[0], factors[1]} {}
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "upsample"; }

 private:
  const int input_, output_, factors_[2];
};

// Channel c is the input's order[c], of values in this form.
class ChannelsStep : public Step {
 public:
  ChannelsStep(int input, int output, Form form, std::vector<int32_t> order);
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "channels"; }
  int64_t bytes() const override;

 private:
  struct Picked {  // where the bits of four channels of the input go, by what they are
    int byte = 0, shift = 0;  // where they are
    uint64_t word[16] = {};
  };

  void pick(const uint8_t* from, int64_t from_bytes, uint8_t* to, int64_t to_bytes, int64_t count) const;

  const int input_, output_;
  const std::vector<int32_t> order_;
  std::vector<std::vector<Picked>> words_;  // of bits, for each 64 channels of the output
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
