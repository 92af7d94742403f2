// The layers that are computed pixel by pixel (layers.h).
#include "engine/layers.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>

#include "common/threads.h"
#include "engine/blocks.h"
#include "engine/strips.h"

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

template <int kBytes>
void copy_each(const uint8_t* from, int64_t step, uint8_t* to, int64_t to_step, int64_t count) {
  for (int64_t x = 0; x < count; ++x) std::memcpy(to + x * to_step, from + x * step, kBytes);
}

// `bytes` of each of `count` pixels, `step` bytes from one to the next, to neighbouring ones of the same form.
void copy(const Buffer& in, const uint8_t* from, int64_t step, int64_t bytes, const Buffer& out, uint8_t* to, int64_t count) {
  for (int planes = in.form == Form::bits ? 2 : 1; planes > 0; --planes, from += in.plane, to += out.plane) {
    if (step == bytes && bytes == out.pixel) {
      std::memcpy(to, from, count * bytes);
      continue;
    }
    switch (bytes) {  // a size that the compiler knows takes an instruction instead of a call
      case 1: copy_each<1>(from, step, to, out.pixel, count); continue;
      case 2: copy_each<2>(from, step, to, out.pixel, count); continue;
      case 4: copy_each<4>(from, step, to, out.pixel, count); continue;
      case 8: copy_each<8>(from, step, to, out.pixel, count); continue;
      case 16: copy_each<16>(from, step, to, out.pixel, count); continue;
      case 32: copy_each<32>(from, step, to, out.pixel, count); continue;
      default:
        for (int64_t x = 0; x < count; ++x) std::memcpy(to + x * out.pixel, from + x * step, bytes);
    }
  }
}

// The channels of `count` neighbouring pixels to those that begin at `to` in pixels of another form, which is not bits.
void convert(const Buffer& in, const uint8_t* from, const Buffer& out, uint8_t* to, int64_t count) {
  Buffer part = out;
  part.channels = in.channels;
  alignas(64) int32_t values[kStrip * kLanes];
  for (int64_t first = 0; first < count; first += kStrip) {
    const int some = static_cast<int>(std::min<int64_t>(kStrip, count - first));
    const uint8_t* pixels[kStrip];
    uint8_t* outputs[kStrip];
    for (int p = 0; p < some; ++p) {
      pixels[p] = from + (first + p) * in.pixel;
      outputs[p] = to + (first + p) * out.pixel;
    }
    for (int block = 0; block * kLanes < in.channels; ++block) {
      load_block(in, block, some, pixels, values);
      store_block(part, block, some, values, outputs);
    }
  }
}

// The bits of so many channels to a pixel, after `at` that are there.
void append_bits(const uint8_t* from, int channels, int at, uint8_t* to) {
  const int shift = at % 8;
  to += at / 8;
  for (; channels > 0; channels -= 8, ++from, ++to) {
    *to = static_cast<uint8_t>(shift ? *to | *from << shift : *from);
    if (shift + std::min(channels, 8) > 8) to[1] = static_cast<uint8_t>(*from >> (8 - shift));
  }
}

int64_t bytes_of(Form form) {  // of a channel, where it takes bytes
  return form == Form::int32 ? 4 : form == Form::int16 ? 2 : 1;
}

// Calls body(T()) for T as wide as a channel.
template <typename F>
void as_wide(Form form, F&& body) {
  switch (bytes_of(form)) {
    case 1: return body(uint8_t());
    case 2: return body(uint16_t());
    default: return body(uint32_t());
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

gxnor_status FlattenStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int) {
    if (in.form != Form::bits) {
      const int64_t channels = in.channels, pixels = in.pixels();
      for (int y = 0; y < in.height; ++y)
        as_wide(in.form, [&](auto wide) {
          using T = decltype(wide);
          const T* const from = reinterpret_cast<const T*>(pixel(run, buffers, input_, image, y, 0));
          T* const to = reinterpret_cast<T*>(pixel(run, buffers, output_, image, 0, 0)) + int64_t{y} * in.width;
          for (int64_t c = 0; c < channels; ++c)
            for (int64_t x = 0; x < in.width; ++x) to[c * pixels + x] = from[x * channels + c];
        });
      return;
    }
    std::vector<int32_t> values(in.channels), flat(out.channels);
    for (int64_t at = 0; at < in.pixels(); ++at) {
      load(in, pixel(run, buffers, input_, image, at / in.width, at % in.width), values.data());
      for (int c = 0; c < in.channels; ++c) flat[c * in.pixels() + at] = values[c];
    }
    store(out, pixel(run, buffers, output_, image, 0, 0), flat.data());
  });
  return GXNOR_OK;
}

gxnor_status ConcatStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer& out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    uint8_t* const to = pixel(run, buffers, output_, image, y, 0);
    int channel = 0;
    for (const int input : inputs_) {
      const Buffer& in = buffers[input];
      const uint8_t* const from = pixel(run, buffers, input, image, y, 0);
      if (in.whole == output_) {
        // was written where it belongs
      } else if (out.form != Form::bits) {
        uint8_t* const part = to + channel * bytes_of(out.form);
        in.form == out.form ? copy(in, from, in.pixel, in.pixel, out, part, out.width) : convert(in, from, out, part, out.width);
      } else if (channel % 8 == 0) {
        copy(in, from, in.pixel, in.pixel, out, to + channel / 8, out.width);
      } else {
        for (int64_t x = 0; x < out.width; ++x) {
          append_bits(from + x * in.pixel, in.channels, channel, to + x * out.pixel);
          append_bits(from + in.plane + x * in.pixel, in.channels, channel, to + out.plane + x * out.pixel);
        }
      }
      channel += in.channels;
    }
  });
  return GXNOR_OK;
}

gxnor_status PadStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, in, [&](int64_t image, int y) {  // what is around is zero, and nothing writes there
    const uint8_t* from = pixel(run, buffers, input_, image, y, 0);
    uint8_t* to = pixel(run, buffers, output_, image, y + before_[0], before_[1]);
    in.form == out.form ? copy(in, from, in.pixel, in.pixel, out, to, in.width) : convert(in, from, out, to, in.width);
  });
  return GXNOR_OK;
}

gxnor_status UpsampleStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    const uint8_t* from = pixel(run, buffers, input_, image, y / factors_[0], 0);
    uint8_t* to = pixel(run, buffers, output_, image, y, 0);
    for (int x = 0; x < in.width; ++x, from += in.pixel, to += factors_[1] * out.pixel)
      copy(in, from, 0, in.pixel, out, to, factors_[1]);
  });
  return GXNOR_OK;
}

ChannelsStep::ChannelsStep(int input, int output, Form form, std::vector<int32_t> order)
    : input_(input), output_(output), order_(std::move(order)), neighbours_(true) {
  for (size_t c = 1; c < order_.size(); ++c) neighbours_ = neighbours_ && order_[c] == order_[0] + static_cast<int>(c);
  if (form != Form::bits) return;
  neighbours_ = neighbours_ && order_[0] % 8 == 0 && order_.size() % 8 == 0;
  for (size_t first = 0; first < order_.size() && !neighbours_; first += 64) {
    std::map<int, Picked> from;
    for (size_t c = first; c < std::min(first + 64, order_.size()); ++c) {
      const int four = order_[c] / 4;
      Picked& picked = from[four];
      picked.four = four;
      for (int bits = 0; bits < 16; ++bits)
        picked.word[bits] |= static_cast<uint64_t>(bits >> order_[c] % 4 & 1) << (c - first);
    }
    words_.emplace_back();
    for (const auto& each : from) words_.back().push_back(each.second);
  }
}

int64_t ChannelsStep::bytes() const {
  int64_t sum = static_cast<int64_t>(sizeof *this + 4 * order_.size());
  for (const auto& word : words_) sum += static_cast<int64_t>(word.size() * sizeof(Picked));
  return sum;
}

// Those of one plane of `count` neighbouring pixels, which take so many bytes each.
void ChannelsStep::pick(const uint8_t* from, int64_t from_bytes, uint8_t* to, int64_t to_bytes, int64_t count) const {
  for (size_t w = 0; w < words_.size(); ++w) {
    const Picked* const fours = words_[w].data();
    const size_t each = words_[w].size();
    const int64_t bytes = std::min<int64_t>(to_bytes - static_cast<int64_t>(8 * w), 8);
    for (int64_t x = 0; x < count; ++x) {
      const uint8_t* const at = from + x * from_bytes;
      uint64_t word = 0;
      for (size_t i = 0; i < each; ++i) word |= fours[i].word[at[fours[i].four / 2] >> 4 * (fours[i].four % 2) & 15];
      uint8_t* const end = to + x * to_bytes + 8 * w;
      if (bytes == 8)
        std::memcpy(end, &word, 8);
      else
        for (int64_t i = 0; i < bytes; ++i) end[i] = static_cast<uint8_t>(word >> 8 * i);
    }
  }
}

gxnor_status ChannelsStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const int64_t first = in.form == Form::bits ? order_[0] / 8 : order_[0] * bytes_of(in.form);
  each_row(run, out, [&](int64_t image, int y) {
    const uint8_t* const from = pixel(run, buffers, input_, image, y, 0);
    uint8_t* const to = pixel(run, buffers, output_, image, y, 0);
    if (neighbours_) return copy(in, from + first, in.pixel, out.pixel, out, to, out.width);
    if (in.form == Form::bits) {
      pick(from, in.pixel, to, out.pixel, out.width);
      return pick(from + in.plane, in.pixel, to + out.plane, out.pixel, out.width);
    }
    for (int64_t x = 0; x < out.width; ++x) {
      const uint8_t* const at = from + x * in.pixel;
      uint8_t* const end = to + x * out.pixel;
      as_wide(in.form, [&](auto wide) {
        using T = decltype(wide);
        for (size_t c = 0; c < order_.size(); ++c)
          reinterpret_cast<T*>(end)[c] = reinterpret_cast<const T*>(at)[order_[c]];
      });
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
