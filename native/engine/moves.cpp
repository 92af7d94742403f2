// The layers that put values elsewhere and leave them as they are (layers.h).
#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "engine/blocks.h"
#include "engine/layers.h"
#include "engine/rows.h"
#include "engine/strips.h"

namespace gxnor {
namespace {

template <int kBytes>
void copy_each(const uint8_t* from, int64_t step, uint8_t* to, int64_t to_step, int64_t count) {
  for (int64_t x = 0; x < count; ++x) std::memcpy(to + x * to_step, from + x * step, kBytes);
}

// The channels of each of `count` pixels, `step` bytes from one to the next, to neighbouring ones of the same form.
void copy(const Buffer& in, const uint8_t* from, int64_t step, const Buffer& out, uint8_t* to, int64_t count) {
  const int64_t bytes = pixel_bytes(in.form, in.channels);
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

}  // namespace

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
          const int64_t apart = in.pixel / static_cast<int64_t>(sizeof(T));
          for (int64_t c = 0; c < channels; ++c)
            for (int64_t x = 0; x < in.width; ++x) to[c * pixels + x] = from[x * apart + c];
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
        in.form == out.form ? copy(in, from, in.pixel, out, part, out.width) : convert(in, from, out, part, out.width);
      } else if (channel % 8 == 0) {
        copy(in, from, in.pixel, out, to + channel / 8, out.width);
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

gxnor_status UpsampleStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    const uint8_t* from = pixel(run, buffers, input_, image, y / factors_[0], 0);
    uint8_t* to = pixel(run, buffers, output_, image, y, 0);
    for (int x = 0; x < in.width; ++x, from += in.pixel, to += factors_[1] * out.pixel)
      copy(in, from, 0, out, to, factors_[1]);
  });
  return GXNOR_OK;
}

ChannelsStep::ChannelsStep(int input, int output, Form form, std::vector<int32_t> order)
    : input_(input), output_(output), order_(std::move(order)) {
  if (form != Form::bits) return;
  for (size_t first = 0; first < order_.size(); first += 64) {
    std::map<int, Picked> from;
    for (size_t c = first; c < std::min(first + 64, order_.size()); ++c) {
      const int four = order_[c] / 4;
      Picked& picked = from[four];
      picked.byte = four / 2;
      picked.shift = 4 * (four % 2);
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
  for (const std::vector<Picked>& fours : words_) {
    const auto each = [&](auto word) {
      for (int64_t x = 0; x < count; ++x) {
        uint64_t bits = 0;
        for (const Picked& picked : fours) bits |= picked.word[from[x * from_bytes + picked.byte] >> picked.shift & 15];
        std::memcpy(&word, &bits, sizeof word);
        std::memcpy(to + x * to_bytes, &word, sizeof word);
      }
    };
    switch (std::min<int64_t>(to_bytes - (&fours - words_.data()) * 8, 8)) {  // a size that the compiler knows
      case 1: each(uint8_t()); break;
      case 2: each(std::array<uint8_t, 2>()); break;
      case 3: each(std::array<uint8_t, 3>()); break;
      case 4: each(std::array<uint8_t, 4>()); break;
      case 5: each(std::array<uint8_t, 5>()); break;
      case 6: each(std::array<uint8_t, 6>()); break;
      case 7: each(std::array<uint8_t, 7>()); break;
      default: each(uint64_t());
    }
    to += 8;
  }
}

gxnor_status ChannelsStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  each_row(run, out, [&](int64_t image, int y) {
    const uint8_t* const from = pixel(run, buffers, input_, image, y, 0);
    uint8_t* const to = pixel(run, buffers, output_, image, y, 0);
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

}  // namespace gxnor
