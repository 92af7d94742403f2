#include "engine/max_pool.h"

#include <algorithm>
#include <cstring>

#include "common/threads.h"
#include "common/vectorise.h"
#include "engine/rows.h"

namespace gxnor {
namespace {

constexpr int64_t kWord = 8;

// Of ternary bits the largest is plus if any is, minus if all are.
GXNOR_BODY void largest_rows(const uint8_t* from, int64_t row, int64_t rows, int64_t plane, int64_t words, uint64_t* plus,
                             uint64_t* minus) {
  for (int64_t i = 0; i < words; ++i) {
    uint64_t any = 0, all = ~uint64_t{0};
    for (int64_t r = 0; r < rows; ++r) {
      uint64_t z, s;
      std::memcpy(&z, from + r * row + i * kWord, kWord);
      std::memcpy(&s, from + r * row + plane + i * kWord, kWord);
      any |= z & ~s;
      all &= s;
    }
    plus[i] = any, minus[i] = all;
  }
}

// Of the columns, from the byte `plus` and `minus` on, as many channels as Word has.
template <typename Word>
void largest_columns(const uint8_t* plus, const uint8_t* minus, int64_t step, int64_t count, const uint8_t* flips,
                     uint8_t* to, int64_t plane) {
  Word any = 0, all = static_cast<Word>(-1), flip;
  for (int64_t i = 0; i < count; ++i) {
    Word p, m;
    std::memcpy(&p, plus + i * step, sizeof p);
    std::memcpy(&m, minus + i * step, sizeof m);
    any |= p;
    all &= m;
  }
  std::memcpy(&flip, flips, sizeof flip);
  const Word nonzero = any | all, sign = all ^ (flip & nonzero);
  std::memcpy(to, &nonzero, sizeof nonzero);
  std::memcpy(to + plane, &sign, sizeof sign);
}

// largest[i] = max(largest[i], from[i])
GXNOR_BODY void raise(int8_t* largest, const int8_t* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) largest[i] = largest[i] > from[i] ? largest[i] : from[i];
}

GXNOR_BODY void largest_levels(int8_t* to, const int8_t* from, int64_t step, int64_t taps, const int8_t* minus,
                               int64_t channels) {
  for (int64_t c = 0; c < channels; ++c) to[c] = from[c];
  for (int64_t i = 1; i < taps; ++i) raise(to, from + i * step, channels);
  for (int64_t c = 0; c < channels; ++c) to[c] = static_cast<int8_t>((to[c] ^ minus[c]) - minus[c]);
}

}  // namespace

MaxPoolStep::MaxPoolStep(int input, int output, int channels, const PoolWindow& window, const std::vector<uint16_t>& flips)
    : input_(input), output_(output), window_(window), flips_(divide_up(channels, 8)), minus_(channels) {
  for (int c = 0; c < (flips.empty() ? 0 : channels); ++c) {
    const int flip = flips[c / kLanes] >> c % kLanes & 1;
    flips_[c / 8] |= static_cast<uint8_t>(flip << c % 8);
    minus_[c] = static_cast<int8_t>(-flip);
  }
}

MaxPoolStep::Seen MaxPoolStep::see(int axis, int64_t at, int64_t extent) const {
  const int64_t apart = window_.dilation[axis], first = at * window_.stride[axis] - window_.padding[axis];
  const int64_t before = first < 0 ? divide_up(-first, apart) : 0;
  const int64_t after = std::min<int64_t>(window_.kernel[axis], divide_up(extent - first, apart));
  return {first + before * apart, after - before};
}

gxnor_status MaxPoolStep::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const int64_t bytes = (in.width - 1) * in.pixel + pixel_bytes(in.form, in.channels), words = divide_up(bytes, kWord) + 1;
  parallel_for(run.images * out.height, row_grain(out), run.threads, [&](int64_t begin, int64_t end) {
    std::vector<uint64_t> memory(std::max<int64_t>(2 * words, in.channels));
    for (int64_t row = begin; row < end; ++row) {
      const int64_t image = row / out.height, y = row % out.height;
      const Seen rows = see(0, y, in.height);
      const uint8_t* const from = pixel(run, buffers, input_, image, rows.first, 0);
      uint8_t* const to = pixel(run, buffers, output_, image, y, 0);
      if (in.form == Form::bits)
        bits(in, out, from, rows, memory.data(), to);
      else if (in.form == Form::int8)
        levels(in, out, from, rows, reinterpret_cast<int8_t*>(memory.data()), to);
      else
        integers(in, out, from, rows, reinterpret_cast<int32_t*>(memory.data()), to);
    }
  });
  return GXNOR_OK;
}

void MaxPoolStep::bits(const Buffer& in, const Buffer& out, const uint8_t* from, Seen rows, uint64_t* largest,
                       uint8_t* to) const {
  const int64_t channel_bytes = pixel_bytes(in.form, in.channels), bytes = (in.width - 1) * in.pixel + channel_bytes;
  const int64_t words = divide_up(bytes, kWord);
  uint64_t *const plus = largest, *const minus = largest + words + 1;  // a word beyond each may be read
  vectorised<largest_rows>(from, window_.dilation[0] * in.row, rows.count, in.plane, words, plus, minus);
  const int64_t step = window_.dilation[1] * in.pixel;
  for (int64_t x = 0; x < out.width; ++x, to += out.pixel) {
    const Seen seen = see(1, x, in.width);
    const uint8_t* const any = reinterpret_cast<const uint8_t*>(plus) + seen.first * in.pixel;
    const uint8_t* const all = reinterpret_cast<const uint8_t*>(minus) + seen.first * in.pixel;
    int64_t byte = 0;
    const auto columns = [&](auto word) {
      largest_columns<decltype(word)>(any + byte, all + byte, step, seen.count, &flips_[byte], to + byte, out.plane);
      byte += sizeof word;
    };
    while (channel_bytes - byte >= 8) columns(uint64_t());
    if (channel_bytes - byte >= 4) columns(uint32_t());
    if (channel_bytes - byte >= 2) columns(uint16_t());
    if (channel_bytes - byte >= 1) columns(uint8_t());
  }
}

void MaxPoolStep::levels(const Buffer& in, const Buffer& out, const uint8_t* from, Seen rows, int8_t* largest,
                         uint8_t* to) const {
  const int64_t bytes = (in.width - 1) * in.pixel + in.channels;
  std::memcpy(largest, from, bytes);
  for (int64_t r = 1; r < rows.count; ++r)
    vectorised<raise>(largest, reinterpret_cast<const int8_t*>(from + r * window_.dilation[0] * in.row), bytes);
  for (int64_t x = 0; x < out.width; ++x, to += out.pixel) {
    const Seen seen = see(1, x, in.width);
    const int8_t* const first = largest + seen.first * in.pixel;
    vectorised<largest_levels>(reinterpret_cast<int8_t*>(to), first, window_.dilation[1] * in.pixel, seen.count,
                               minus_.data(), int64_t{in.channels});
  }
}

// Of values of 16 and 32 bits, which pools seldom see.
void MaxPoolStep::integers(const Buffer& in, const Buffer& out, const uint8_t* from, Seen rows, int32_t* largest,
                           uint8_t* to) const {
  int32_t* const values = largest + in.channels;
  for (int64_t x = 0; x < out.width; ++x, to += out.pixel) {
    const Seen seen = see(1, x, in.width);
    for (int64_t r = 0; r < rows.count; ++r)
      for (int64_t i = 0; i < seen.count; ++i) {
        const uint8_t* const row = from + r * window_.dilation[0] * in.row;
        const uint8_t* const tap = row + (seen.first + i * window_.dilation[1]) * in.pixel;
        const bool first = r == 0 && i == 0;
        load(in, tap, first ? largest : values);
        for (int c = 0; c < (first ? 0 : in.channels); ++c) largest[c] = std::max(largest[c], values[c]);
      }
    for (int c = 0; c < in.channels; ++c) largest[c] = (largest[c] ^ minus_[c]) - minus_[c];
    store(out, to, largest);
  }
}

}  // namespace gxnor
