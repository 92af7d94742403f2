// The layers that are computed pixel by pixel (layers.h); those that only move values are in moves.cpp.
#include "engine/layers.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "common/threads.h"
#include "engine/blocks.h"
#include "engine/grid.h"
#include "engine/rows.h"
#include "engine/strips.h"

namespace gxnor {
gxnor_status InputStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer& out = buffers[output_];
  std::atomic<gxnor_status> status{GXNOR_OK};
  each_row(run, out, [&](int64_t image, int y) {
    const uint8_t* from = run.x + image * out.channels * out.pixels() + int64_t{y} * out.width;
    uint8_t* to = pixel(run, buffers, output_, image, y, 0);
    if (out.form == Form::pixels) {
      const int64_t channels = out.channels, width = out.width, pixels = out.pixels();  // what is written could alias `out`
      for (int64_t x = 0; x < width; ++x, to += channels + 1) {
        for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<uint8_t>(from[c * pixels + x] - 128);
        to[channels] = 1;
      }
      return;
    }
    if (space_ < 0) {
      const int64_t channels = out.channels, width = out.width, pixels = out.pixels();
      int16_t* const values = reinterpret_cast<int16_t*>(to);
      if (channels == 1) {  // a loop that compilers vectorise
        for (int64_t x = 0; x < width; ++x) values[x] = static_cast<int16_t>(2 * from[x] - 255);
        return;
      }
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t x = 0; x < width; ++x)
          values[x * channels + c] = static_cast<int16_t>(2 * from[c * pixels + x] - 255);
      return;
    }
    if (out.form == Form::int8 && space_ > 0) {
      const int64_t channels = out.channels, width = out.width, pixels = out.pixels();
      const int half = 1 << (space_ - 1);
      uint8_t largest = 0;
      for (int64_t x = 0; x < width; ++x, to += channels)
        for (int64_t c = 0; c < channels; ++c) {
          const uint8_t index = from[c * pixels + x];
          largest = std::max(largest, index);
          to[c] = static_cast<uint8_t>(index - half);
        }
      if (largest > 1 << space_) status = GXNOR_BAD_STATE;
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

gxnor_status PointwiseStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const Positions pixels(in.grid(run.scratch[input_]), run.images);
  each_strip(run, out, epilogue_, output_, [&](int64_t first, int count, int block, int32_t* sums) {
    uint8_t* from[kStrip];
    pixels.locate(first, count, from);
    load_block(in, block, count, from, sums);
  });
  return GXNOR_OK;
}

gxnor_status SumPoolStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const Positions positions({run.scratch[input_] + in.at(-window_.padding[0], -window_.padding[1]), in.image,
                             window_.stride[0] * in.row, window_.stride[1] * in.pixel, out.height, out.width},
                            run.images);
  std::vector<int64_t> taps;
  for (int64_t y = 0; y < window_.kernel[0]; ++y)
    for (int64_t x = 0; x < window_.kernel[1]; ++x) taps.push_back(y * in.row + x * in.pixel);
  each_strip(run, out, epilogue_, output_, [&](int64_t first, int count, int block, int32_t* sums) {
    uint8_t* windows[kStrip];
    positions.locate(first, count, windows);
    sum_block(in, block, count, windows, taps, sums);
  });
  return GXNOR_OK;
}

// A value's channels are apart in the logits, its places together.
gxnor_status ScaleStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer& in = buffers[input_];
  const int64_t pixels = in.pixels();
  std::vector<int32_t> values(int64_t{in.width} * in.channels);
  for (int64_t image = 0; image < run.images; ++image) {
    for (int y = 0; y < in.height; ++y) {
      const uint8_t* const from = pixel(run, buffers, input_, image, y, 0);
      for (int64_t x = 0; x < in.width; ++x) load(in, from + x * in.pixel, &values[x * in.channels]);
      float* const logits = run.logits + image * in.channels * pixels + int64_t{y} * in.width;
      const auto scale = [&](int64_t x, int64_t c) {
        const float product = static_cast<float>(values[x * in.channels + c]) * scale_[c];
        logits[c * pixels + x] = product + bias_[c];  // the product is rounded before the sum, as the reference does
      };
      if (pixels == 1)
        for (int c = 0; c < in.channels; ++c) scale(0, c);
      else
        for (int c = 0; c < in.channels; ++c)
          for (int64_t x = 0; x < in.width; ++x) scale(x, c);
    }
  }
  return GXNOR_OK;
}

}  // namespace gxnor
