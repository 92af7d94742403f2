// The layers that are computed pixel by pixel (layers.h); those that only move values are in moves.cpp.
#include "engine/layers.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "common/threads.h"
#include "engine/blocks.h"
#include "engine/rows.h"
#include "engine/strips.h"

namespace gxnor {
namespace {

// The input pixels that the window of output (y, x) sees, padding left out.
void see(const Buffer& in, const PoolWindow& w, const uint8_t* image, int64_t y, int64_t x,
         std::vector<const uint8_t*>& seen) {
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

// Of a word of channels, from `byte` on: the largest is plus if any is, minus if all are.
template <typename Word>
void largest_bits(const Buffer& in, const Buffer& out, const std::vector<const uint8_t*>& seen, const uint8_t* flips,
                  int64_t byte, uint8_t* to) {
  Word plus = 0, minus = static_cast<Word>(-1), flip;
  for (const uint8_t* from : seen) {
    Word z, s;
    std::memcpy(&z, from + byte, sizeof z);
    std::memcpy(&s, from + in.plane + byte, sizeof s);
    plus |= z & ~s;
    minus &= s;
  }
  std::memcpy(&flip, flips + byte, sizeof flip);
  const Word nonzero = plus | minus, sign = minus ^ (flip & nonzero);
  std::memcpy(to + byte, &nonzero, sizeof nonzero);
  std::memcpy(to + out.plane + byte, &sign, sizeof sign);
}

}  // namespace

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
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t x = 0; x < width; ++x)
          values[x * channels + c] = static_cast<int16_t>(2 * from[c * pixels + x] - 255);
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
  each_strip(run, out, epilogue_, output_, [&](int64_t first, int count, int block, int32_t* sums) {
    uint8_t* from[kStrip];
    in.locate(run.scratch[input_], first, count, from);
    load_block(in, block, count, from, sums);
  });
  return GXNOR_OK;
}

MaxPoolStep::MaxPoolStep(int input, int output, int channels, const PoolWindow& window, const std::vector<uint16_t>& flips)
    : input_(input), output_(output), window_(window), flips_(divide_up(channels, 8)), minus_(channels) {
  for (int c = 0; c < (flips.empty() ? 0 : channels); ++c) {
    const int flip = flips[c / kLanes] >> c % kLanes & 1;
    flips_[c / 8] |= static_cast<uint8_t>(flip << c % 8);
    minus_[c] = static_cast<int8_t>(-flip);
  }
}

gxnor_status MaxPoolStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const int64_t step = window_.stride[1], reach = int64_t{window_.kernel[1] - 1} * window_.dilation[1];
  const int64_t first = divide_up(window_.padding[1], step), last = in.width - 1 - reach + window_.padding[1];
  each_row(run, out, [&](int64_t image, int y) {
    std::vector<const uint8_t*> seen;
    std::vector<int32_t> values(in.channels), largest(in.channels);
    uint8_t* to = pixel(run, buffers, output_, image, y, 0);
    for (int64_t x = 0; x < out.width; ++x, to += out.pixel) {
      if (x > first && x * step <= last)  // as whole as the one before
        for (const uint8_t*& from : seen) from += step * in.pixel;
      else
        see(in, window_, run.scratch[input_] + image * in.image, y, x, seen);
      if (in.form == Form::bits) {
        bits(in, out, seen, to);
      } else if (in.form == Form::int8) {
        levels(in, seen, reinterpret_cast<int8_t*>(to));
      } else {
        load(in, seen[0], largest.data());
        for (size_t i = 1; i < seen.size(); ++i) {
          load(in, seen[i], values.data());
          for (int c = 0; c < in.channels; ++c) largest[c] = std::max(largest[c], values[c]);
        }
        for (int c = 0; c < in.channels; ++c) largest[c] = (largest[c] ^ minus_[c]) - minus_[c];
        store(out, to, largest.data());
      }
    }
  });
  return GXNOR_OK;
}

void MaxPoolStep::levels(const Buffer& in, const std::vector<const uint8_t*>& seen, int8_t* to) const {
  constexpr int kSome = 32;  // channels at a time, which the compiler keeps in registers
  for (int first = 0; first < in.channels; first += kSome) {
    const int some = std::min(kSome, in.channels - first);
    int8_t largest[kSome], next[kSome] = {};
    std::fill(largest, largest + kSome, INT8_MIN);
    for (const uint8_t* from : seen) {
      if (some == kSome)
        std::memcpy(next, from + first, kSome);
      else
        std::memcpy(next, from + first, some);
      for (int c = 0; c < kSome; ++c) largest[c] = largest[c] > next[c] ? largest[c] : next[c];
    }
    for (int c = 0; c < some; ++c) to[first + c] = static_cast<int8_t>((largest[c] ^ minus_[first + c]) - minus_[first + c]);
  }
}

// 64 channels at a time, or as many as the last bytes hold.
void MaxPoolStep::bits(const Buffer& in, const Buffer& out, const std::vector<const uint8_t*>& seen, uint8_t* to) const {
  int64_t byte = 0;
  for (; out.pixel - byte >= 8; byte += 8) largest_bits<uint64_t>(in, out, seen, flips_.data(), byte, to);
  const int64_t rest = out.pixel - byte;
  if (rest & 4) largest_bits<uint32_t>(in, out, seen, flips_.data(), byte, to);
  if (rest & 2) largest_bits<uint16_t>(in, out, seen, flips_.data(), byte + (rest & 4), to);
  if (rest & 1) largest_bits<uint8_t>(in, out, seen, flips_.data(), byte + (rest & 6), to);
}

gxnor_status SumPoolStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_strip(run, out, epilogue_, output_, [&](int64_t first, int count, int block, int32_t* sums) {
    std::vector<const uint8_t*> seen;
    for (int64_t at = first; at < first + count; ++at, sums += kLanes) {
      const uint8_t* const image = run.scratch[input_] + at / out.pixels() * in.image;
      see(in, window_, image, at % out.pixels() / out.width, at % out.width, seen);
      sum_block(in, block, static_cast<int>(seen.size()), seen.data(), sums);
    }
  });
  return GXNOR_OK;
}

gxnor_status ScaleStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer& in = buffers[input_];
  std::vector<int32_t> values(in.channels);
  for (int64_t image = 0; image < run.images; ++image) {
    for (int64_t at = 0; at < in.pixels(); ++at) {
      load(in, pixel(run, buffers, input_, image, at / in.width, at % in.width), values.data());
      float* logits = run.logits + image * in.channels * in.pixels() + at;
      for (int c = 0; c < in.channels; ++c) {
        const float product = static_cast<float>(values[c]) * scale_[c];  // rounded before the sum, as the reference does
        logits[c * in.pixels()] = product + bias_[c];
      }
    }
  }
  return GXNOR_OK;
}

}  // namespace gxnor
