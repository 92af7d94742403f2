#include "layers.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>

#include "threads.h"

namespace gxnor {
namespace {

// body(image, y) for every row of the output, shared among the run's threads by rows that are worth a hand-over.
void each_row(const Run& run, const Buffer& out, const std::function<void(int64_t image, int y)>& body) {
  const int64_t grain = divide_up(16384, int64_t{out.width} * out.channels);
  parallel_for(run.images * out.height, grain, run.threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row / out.height, static_cast<int>(row % out.height));
  });
}

uint8_t* pixel(const Run& run, const std::vector<Buffer>& buffers, int buffer, int64_t image, int64_t y, int64_t x) {
  return run.scratch[buffer] + image * buffers[buffer].image + buffers[buffer].at(y, x);
}

// The input pixels that the window of output (y, x) sees, padding left out.
void see(const Buffer& in, const PoolWindow& w, const uint8_t* image, int64_t y, int64_t x, std::vector<const uint8_t*>& seen) {
  seen.clear();
  for (int64_t i = 0; i < w.kernel[0]; ++i) {
    const int64_t at_y = y * w.stride[0] - w.padding[0] + i * w.dilation[0];
    if (at_y < 0 || at_y >= in.height) continue;
    for (int64_t j = 0; j < w.kernel[1]; ++j) {
      const int64_t at_x = x * w.stride[1] - w.padding[1] + j * w.dilation[1];
      if (at_x >= 0 && at_x < in.width) seen.push_back(image + in.at(at_y, at_x));
    }
  }
}

}  // namespace

gxnor_status InputStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer& out = buffers[output_];
  std::atomic<gxnor_status> status{GXNOR_OK};
  each_row(run, out, [&](int64_t image, int y) {
    const uint8_t* from = run.x + image * out.channels * out.pixels() + int64_t{y} * out.width;
    uint8_t* to = pixel(run, buffers, output_, image, y, 0);
    if (space_ < 0) {
      for (int c = 0; c < out.channels; ++c)
        for (int x = 0; x < out.width; ++x) {
          const int16_t value = static_cast<int16_t>(2 * from[c * out.pixels() + x] - 255);
          std::memcpy(to + x * out.pixel + 2 * c, &value, 2);
        }
      return;
    }
    std::vector<int32_t> levels(out.channels);
    for (int x = 0; x < out.width; ++x, to += out.pixel) {
      for (int c = 0; c < out.channels; ++c) {
        const int index = from[c * out.pixels() + x];
        if (index > 1 << space_) {
          status = GXNOR_BAD_STATE;
          return;
        }
        levels[c] = space_ == 0 ? 2 * index - 1 : index - (1 << (space_ - 1));
      }
      store(out, to, levels.data());
    }
  });
  return status;
}

gxnor_status ThresholdStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    std::vector<int32_t> values(divide_up(in.channels, kLanes) * kLanes);
    for (int x = 0; x < out.width; ++x) {
      load(in, pixel(run, buffers, input_, image, y, x), values.data());
      for (int c = 0; c < in.channels; ++c)
        if (c % kLanes == 0) thresholds_.levels(&values[c], c / kLanes, &values[c]);
      for (int c = 0; c < in.channels; ++c)
        if (thresholds_.flips[c / kLanes] >> c % kLanes & 1) values[c] = -values[c];
      store(out, pixel(run, buffers, output_, image, y, x), values.data());
    }
  });
  return GXNOR_OK;
}

MaxPoolStep::MaxPoolStep(int input, int output, const PoolWindow& window, std::vector<uint16_t> flips)
    : input_(input), output_(output), window_(window) {
  for (const uint16_t flip : flips) {
    flips_.push_back(flip & 255);
    flips_.push_back(flip >> 8);
  }
  if (!flips_.empty()) flips_.resize(flips_.size() + 8);
}

gxnor_status MaxPoolStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    std::vector<const uint8_t*> seen;
    std::vector<int32_t> values(in.channels), largest(in.channels);
    for (int x = 0; x < out.width; ++x) {
      see(in, window_, run.scratch[input_] + image * in.image, y, x, seen);
      uint8_t* to = pixel(run, buffers, output_, image, y, x);
      if (in.form == Form::bits) {
        bits(in, out, seen, to);
        continue;
      }
      load(in, seen[0], largest.data());
      for (size_t i = 1; i < seen.size(); ++i) {
        load(in, seen[i], values.data());
        for (int c = 0; c < in.channels; ++c) largest[c] = std::max(largest[c], values[c]);
      }
      if (!flips_.empty())
        for (int c = 0; c < in.channels; ++c)
          if (flips_[c / 8] >> c % 8 & 1) largest[c] = -largest[c];
      store(out, to, largest.data());
    }
  });
  return GXNOR_OK;
}

// 64 channels at a time: the largest is plus if any is, minus if all are.
void MaxPoolStep::bits(const Buffer& in, const Buffer& out, const std::vector<const uint8_t*>& seen, uint8_t* to) const {
  for (int64_t byte = 0; byte < out.pixel; byte += 8) {
    uint64_t plus = 0, minus = ~uint64_t{0}, flip = 0;
    for (const uint8_t* from : seen) {
      uint64_t z, s;
      std::memcpy(&z, from + byte, 8);
      std::memcpy(&s, from + in.plane + byte, 8);
      plus |= z & ~s;
      minus &= s;
    }
    if (!flips_.empty()) std::memcpy(&flip, flips_.data() + byte, 8);
    const uint64_t nonzero = plus | minus, sign = minus ^ (flip & nonzero);
    if (out.pixel - byte >= 8) {
      std::memcpy(to + byte, &nonzero, 8);
      std::memcpy(to + out.plane + byte, &sign, 8);
    } else {
      std::memcpy(to + byte, &nonzero, out.pixel - byte);
      std::memcpy(to + out.plane + byte, &sign, out.pixel - byte);
    }
  }
}

gxnor_status SumPoolStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    std::vector<const uint8_t*> seen;
    std::vector<int32_t> values(in.channels), sums(in.channels);
    for (int x = 0; x < out.width; ++x) {
      see(in, window_, run.scratch[input_] + image * in.image, y, x, seen);
      std::fill(sums.begin(), sums.end(), 0);
      for (const uint8_t* from : seen) {
        load(in, from, values.data());
        for (int c = 0; c < in.channels; ++c) sums[c] += values[c];
      }
      store(out, pixel(run, buffers, output_, image, y, x), sums.data());
    }
  });
  return GXNOR_OK;
}

gxnor_status AddStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer& out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    std::vector<int32_t> a(out.channels), b(out.channels);
    for (int x = 0; x < out.width; ++x) {
      load(buffers[inputs_[0]], pixel(run, buffers, inputs_[0], image, y, x), a.data());
      load(buffers[inputs_[1]], pixel(run, buffers, inputs_[1], image, y, x), b.data());
      for (int c = 0; c < out.channels; ++c) a[c] = factors_[0] * a[c] + factors_[1] * b[c];
      store(out, pixel(run, buffers, output_, image, y, x), a.data());
    }
  });
  return GXNOR_OK;
}

gxnor_status ConvertStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    std::vector<int32_t> values(in.channels);
    for (int x = 0; x < out.width; ++x) {
      load(in, pixel(run, buffers, input_, image, y, x), values.data());
      store(out, pixel(run, buffers, output_, image, y, x), values.data());
    }
  });
  return GXNOR_OK;
}

gxnor_status FlattenStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int) {
    std::vector<int32_t> values(in.channels), flat(out.channels);
    for (int64_t at = 0; at < in.pixels(); ++at) {
      load(in, pixel(run, buffers, input_, image, at / in.width, at % in.width), values.data());
      for (int c = 0; c < in.channels; ++c) flat[c * in.pixels() + at] = values[c];
    }
    store(out, pixel(run, buffers, output_, image, 0, 0), flat.data());
  });
  return GXNOR_OK;
}

gxnor_status ScaleStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer& in = buffers[input_];
  std::vector<int32_t> values(in.channels);
  for (int64_t image = 0; image < run.images; ++image) {
    load(in, pixel(run, buffers, input_, image, 0, 0), values.data());
    float* logits = run.logits + image * in.channels;
    for (int c = 0; c < in.channels; ++c) {
      const float product = static_cast<float>(values[c]) * scale_[c];  // rounded before the sum, as the reference does
      logits[c] = product + bias_[c];
    }
  }
  return GXNOR_OK;
}

}  // namespace gxnor
