#include "convolution.h"

#include <algorithm>
#include <cstring>

#include "threads.h"

namespace gxnor {
namespace {

constexpr int kStrip = 64;  // output positions that one block of weights, warm in the first cache, is applied to in turn

int element_bits(Form form) { return form == Form::bits ? 1 : form == Form::int16 ? 16 : 32; }

// The unit that holds the byte at `address`, of units in ascending order.
int unit_of(const std::vector<int32_t>& offsets, int64_t address) {
  return static_cast<int>(std::upper_bound(offsets.begin(), offsets.end(), address) - offsets.begin()) - 1;
}

// Indices of 8 / `each` bits, by table.
template <int each>
void spread(const uint8_t* packed, int64_t bytes, uint8_t* indices) {
  static const std::vector<uint8_t> table = [] {
    std::vector<uint8_t> table(256 * each);
    for (int byte = 0; byte < 256; ++byte)
      for (int i = 0; i < each; ++i)
        table[byte * each + i] = static_cast<uint8_t>(byte >> i * (8 / each) & ((1 << (8 / each)) - 1));
    return table;
  }();
  for (int64_t byte = 0; byte < bytes; ++byte) std::memcpy(indices + byte * each, &table[packed[byte] * each], each);
}

constexpr int kOverRead = 16;
typedef uint8_t Bytes __attribute__((vector_size(kOverRead)));

// From indices [fan][taps], binary or ternary, to bits [taps][bytes]: 8 channels a byte. Reads kOverRead indices too many.
void to_planes(const uint8_t* indices, int fan, int taps, int N, int64_t bytes, uint8_t* nonzero, uint8_t* minus) {
  const uint8_t zero = N == 0 ? 255 : 1;  // the index that is level 0; 255 is none
  for (int first = 0; first < taps; first += kOverRead)
    for (int c = 0; c < fan; c += 8) {
      Bytes z = {}, s = {};
      for (int i = 0; i < std::min(8, fan - c); ++i) {
        Bytes row, bit;
        std::memcpy(&row, indices + int64_t{c + i} * taps + first, sizeof row);
        std::memset(&bit, 1 << i, sizeof bit);
        z |= (row != zero) & bit;
        s |= (row == 0) & bit;
      }
      for (int tap = first; tap < std::min(first + kOverRead, taps); ++tap) {
        nonzero[tap * bytes + c / 8] = z[tap - first];
        minus[tap * bytes + c / 8] = s[tap - first];
      }
    }
}

}  // namespace

const uint8_t* States::read(int64_t first, int64_t count, std::vector<uint8_t>& memory) const {
  const int each = 8 / storage();
  const int64_t begin = first / each, bytes = divide_up(first + count, each) - begin;
  memory.resize(static_cast<size_t>(bytes * each + kOverRead));
  switch (each) {
    case 8: spread<8>(packed + begin, bytes, memory.data()); break;
    case 4: spread<4>(packed + begin, bytes, memory.data()); break;
    case 2: spread<2>(packed + begin, bytes, memory.data()); break;
    default: spread<1>(packed + begin, bytes, memory.data());
  }
  const uint8_t* read = memory.data() + first % each;
  uint8_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, read[i]);
  if (largest > 1 << N) throw Failure{GXNOR_BAD_PROGRAM};
  return read;
}

Convolution::Convolution(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry,
                         const States& states, const Kernels& kernels, int threads,
                         std::unique_ptr<Thresholds> thresholds, bool flip)
    : input_(input),
      output_(output),
      geometry_(geometry),
      thresholds_(std::move(thresholds)),
      flip_(flip),
      pack_(kernels.pack),
      channels_(buffers[output].channels),
      fan_(buffers[input].channels / geometry.groups),
      taps_(geometry.kernel[0] * geometry.kernel[1]),
      blocks_((channels_ - 1) / kLanes + 1) {
  const Form form = buffers[input].form;
  product_ = form == Form::bits ? kernels.xnor : form == Form::int16 ? kernels.dot16 : kernels.dot32;
  unit_bytes_ = form == Form::bits ? 8 : 4;
  lane_bytes_ = form == Form::bits ? 16 : form == Form::int16 ? 2 : 1;
  arrange(buffers[input], states, threads);
}

void Convolution::arrange(const Buffer& input, const States& states, int threads) {
  const int per_group = channels_ / geometry_.groups, bits = element_bits(input.form);
  std::vector<int64_t> taps;  // bits from the window's first pixel, ascending
  for (int y = 0; y < geometry_.kernel[0]; ++y)
    for (int x = 0; x < geometry_.kernel[1]; ++x)
      taps.push_back(8 * (y * int64_t{geometry_.dilation[0]} * input.row + x * int64_t{geometry_.dilation[1]} * input.pixel));

  // Cover the bytes that a block reads by as few units as possible.
  const int tables = geometry_.groups == 1 ? 1 : blocks_;
  std::vector<std::vector<int32_t>> offsets(tables);
  units_ = 0;
  for (int b = 0; b < tables; ++b) {
    const int first = b * kLanes / per_group, last = std::min(b * kLanes + kLanes - 1, channels_ - 1) / per_group;
    const int64_t low = int64_t{first} * fan_ * bits;
    const int64_t high = (geometry_.groups == 1 ? int64_t{fan_} : int64_t{last + 1} * fan_) * bits;
    int64_t covered = 0;
    for (const int64_t tap : taps) {
      const int64_t end = divide_up(tap + high, 8);
      for (int64_t at = std::max(covered, (tap + low) / 8); at < end; at = covered) {
        offsets[b].push_back(static_cast<int32_t>(at));
        covered = at + unit_bytes_;
      }
    }
    units_ = std::max(units_, static_cast<int>(offsets[b].size()));
  }

  const int64_t unit_weights = int64_t{kLanes} * lane_bytes_, block_weights = units_ * unit_weights;
  weights_.resize(static_cast<size_t>(blocks_ * block_weights));
  parallel_for(blocks_, 1, threads, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> memory, planes[2];
    const int64_t plane_bytes = divide_up(fan_, 64) * 8;
    for (auto& plane : planes) plane.resize(input.form == Form::bits ? taps_ * plane_bytes : 0);
    for (int64_t channel = begin * kLanes; channel < std::min<int64_t>(end * kLanes, channels_); ++channel) {
      const int64_t b = channel / kLanes, lane = channel % kLanes;
      const std::vector<int32_t>& table = offsets[tables == 1 ? 0 : b];
      uint8_t* block = weights_.data() + b * block_weights;
      const uint8_t* indices = states.read(channel * fan_ * taps_, int64_t{fan_} * taps_, memory);
      if (input.form == Form::bits)
        to_planes(indices, fan_, taps_, states.N, plane_bytes, planes[0].data(), planes[1].data());
      const int64_t group = channel / per_group * fan_ * bits;
      for (int tap = 0; tap < taps_; ++tap) {
        const int64_t start = taps[tap] + group;
        if (input.form != Form::bits) {
          int unit = unit_of(table, start / 8);
          for (int i = 0; i < fan_; ++i) {
            const int64_t address = (start + int64_t{i} * bits) / 8;
            if (address >= table[unit] + unit_bytes_) ++unit;
            const int level = states.N == 0 ? 2 * indices[i * int64_t{taps_} + tap] - 1
                                            : indices[i * int64_t{taps_} + tap] - (1 << (states.N - 1));
            block[unit * unit_weights + lane * lane_bytes_ + (address - table[unit]) / (bits / 8)] =
                static_cast<uint8_t>(level);
          }
          continue;
        }
        uint64_t* words = reinterpret_cast<uint64_t*>(block);
        for (int i = 0; i < fan_; i += 64) {
          const int count = std::min(64, fan_ - i);
          uint64_t nonzero, minus;
          std::memcpy(&nonzero, &planes[0][tap * plane_bytes + i / 8], 8);
          std::memcpy(&minus, &planes[1][tap * plane_bytes + i / 8], 8);
          const int64_t address = start + i;
          const int unit = unit_of(table, address / 8);
          const int shift = static_cast<int>(address - int64_t{8} * table[unit]);
          uint64_t* word = words + unit * int64_t{2 * kLanes} + lane;
          word[0] |= nonzero << shift;
          word[kLanes] |= minus << shift;
          if (shift + count > 64) {  // the rest is in the next unit, which begins where this one ends
            word[2 * kLanes] |= nonzero >> (64 - shift);
            word[3 * kLanes] |= minus >> (64 - shift);
          }
        }
      }
    }
  });

  offsets_.reserve(static_cast<size_t>(tables) * units_);
  for (const std::vector<int32_t>& table : offsets) {
    offsets_.insert(offsets_.end(), table.begin(), table.end());
    offsets_.resize(divide_up(static_cast<int64_t>(offsets_.size()), units_) * units_, table[0]);  // weights there are zero
  }
}

gxnor_status Convolution::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const int64_t positions = run.images * out.pixels(), strips = divide_up(positions, kStrip);
  const int64_t wanted = run.threads == 1 ? 1 : divide_up(4 * run.threads, strips);
  const int64_t share = divide_up(blocks_, std::min<int64_t>(wanted, blocks_)), shares = divide_up(blocks_, share);
  const int64_t block_weights = static_cast<int64_t>(weights_.size()) / blocks_;
  const uint8_t* const input = run.scratch[input_] + in.at(-geometry_.padding[0], -geometry_.padding[1]);
  uint8_t* const output = run.scratch[output_] + out.origin;

  parallel_for(strips * shares, 1, run.threads, [&](int64_t begin, int64_t end) {
    const uint8_t* from[kStrip];
    uint8_t* to[kStrip];
    alignas(64) int32_t sums[kStrip * kLanes];
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item / shares * kStrip;
      const int count = static_cast<int>(std::min<int64_t>(kStrip, positions - first));
      int64_t image = first / out.pixels(), y = first % out.pixels() / out.width, x = first % out.width;
      for (int p = 0; p < count; ++p) {
        from[p] = input + image * in.image + y * geometry_.stride[0] * in.row + x * geometry_.stride[1] * in.pixel;
        to[p] = output + image * out.image + y * out.row + x * out.pixel;
        if (++x == out.width) x = 0, ++y;
        if (y == out.height) y = 0, ++image;
      }
      const int64_t block = item % shares * share;
      for (int64_t b = block; b < std::min<int64_t>(block + share, blocks_); ++b) {
        const Window window = {offsets_.data() + (geometry_.groups == 1 ? 0 : b * units_), units_, in.plane};
        product_(from, count, window, weights_.data() + b * block_weights, sums);
        finish(out, static_cast<int>(b), count, sums, to);
      }
    }
  });
  return GXNOR_OK;
}

// Sums of a block to where and what they become.
void Convolution::finish(const Buffer& out, int block, int count, const int32_t* sums, uint8_t* const* outputs) const {
  const int lanes = std::min(kLanes, out.channels - block * kLanes);
  const uint16_t flips = thresholds_ && flip_ ? thresholds_->flips[block] : 0;
  if (out.form == Form::bits) {
    uint8_t* to[kStrip];
    for (int p = 0; p < count; ++p) to[p] = outputs[p] + block * (kLanes / 8);
    const auto* steps = reinterpret_cast<const int32_t(*)[kLanes]>(thresholds_->block(block));
    return pack_(sums, count, steps, flips, (lanes + 7) / 8, to, out.plane);
  }
  for (int p = 0; p < count; ++p, sums += kLanes) {
    if (out.form == Form::int32) {
      std::memcpy(outputs[p] + block * kLanes * sizeof(int32_t), sums, lanes * sizeof(int32_t));
      continue;
    }
    int32_t levels[kLanes];
    thresholds_->levels(sums, block, levels);
    int16_t out16[kLanes];
    for (int lane = 0; lane < kLanes; ++lane)
      out16[lane] = static_cast<int16_t>(flips >> lane & 1 ? -levels[lane] : levels[lane]);
    std::memcpy(outputs[p] + block * kLanes * sizeof(int16_t), out16, lanes * sizeof(int16_t));
  }
}

int64_t Convolution::bytes() const {
  return static_cast<int64_t>(sizeof *this + weights_.size() + offsets_.size() * sizeof(int32_t)) +
         (thresholds_ ? thresholds_->bytes() : 0);
}

}  // namespace gxnor
