// Convolutions and dense layers by units (convolution.h): offsets and weights arranged once, then the loop over positions.
#include "engine/convolution.h"

#include <algorithm>
#include <bitset>
#include <cstring>
#include <numeric>
#include <optional>

#include "common/threads.h"
#include "engine/blocks.h"
#include "engine/grid.h"

namespace gxnor {
namespace {

int element_bits(Form form) {
  switch (form) {
    case Form::bits: return 1;
    case Form::int8:
    case Form::pixels: return 8;
    case Form::int16: return 16;
    case Form::int32: return 32;
  }
  return 0;
}

// Of a layer that reads pixels as bytes: 2p - 255 is twice p - 128, and one 1 of each pixel.
int64_t largest_weight(int channels, int N) { return std::max(2, channels) * top_level(N); }

constexpr int kRaise = 32, kRaisePixels = 128;  // int8 holds levels of -32..32, and p - 128

// The unit that holds the byte at `address`, of units in ascending order.
int unit_of(const std::vector<int32_t>& offsets, int64_t address) {
  return static_cast<int>(std::upper_bound(offsets.begin(), offsets.end(), address) - offsets.begin()) - 1;
}

}  // namespace

Xnor xnor_of(const Geometry& geometry, int input_space, int weight_space, const Fold& fold) {
  if (input_space == 0 && geometry.padding[0] == 0 && geometry.padding[1] == 0) return kBinaryActivations;
  return weight_space == 0 && geometry.groups == 1 && fold.pixels == 1 ? kBinaryWeights : kTernary;
}

bool Convolution::looks_up(const Kernels& kernels, Xnor xnor, int blocks, int64_t groups, int64_t units) {
  constexpr int kFew = 10;  // of 16: with one block and more than so many counting is as fast
  return kernels.lookup && xnor == kTernary && (blocks > 1 || groups <= kFew * units);
}

bool Convolution::suits_pixels(int channels, int groups, int space) {
  return channels > 1 && groups == 1 && largest_weight(channels, space) <= INT16_MAX / (4 * kRaisePixels);
}

Convolution::Convolution(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry,
                         const States& states, Xnor xnor, const Kernels& kernels, int threads, const Fold& fold,
                         Epilogue epilogue)
    : input_(input),
      output_(output),
      geometry_(geometry),
      fold_(fold),
      epilogue_(std::move(epilogue)),
      channels_(buffers[output].channels),
      fan_(buffers[input].channels / geometry.groups),
      taps_(geometry.kernel[0] * geometry.kernel[1]),
      blocks_((channels_ - 1) / kLanes + 1) {
  const Form form = buffers[input].form;
  switch (form) {
    case Form::bits: product_ = kernels.xnor[xnor], name_ = "product, bits", unit_bytes_ = 8, lane_bytes_ = 16; break;
    case Form::int8: product_ = kernels.dot8, name_ = "product, int8", unit_bytes_ = 4, lane_bytes_ = 4; break;
    case Form::pixels: product_ = kernels.dot8, name_ = "product, pixels", unit_bytes_ = 4, lane_bytes_ = 4; break;
    case Form::int16: product_ = kernels.dot16, name_ = "product, int16", unit_bytes_ = 4, lane_bytes_ = 2; break;
    case Form::int32: product_ = kernels.dot32, name_ = "product, int32", unit_bytes_ = 4, lane_bytes_ = 1; break;
  }
  const bool pixels = form == Form::pixels;
  raise_ = pixels ? kRaisePixels : kRaise;
  // The largest sum of a pair of products: of two pixels, or of one and the 1, for raised ones are up to 255 and 129.
  const int64_t pair = pixels ? std::max(4 * 255, 2 * 255 + (kRaisePixels + 1) * fan_) : 4 * kRaise;
  piece_ = static_cast<int>(INT16_MAX / (pair * top_level(states.N)));
  const bool start = form == Form::int8 || pixels || (form == Form::bits && xnor == kBinaryActivations);
  at_once_ = (form == Form::int8 || pixels) && geometry.groups == 1 ? kernels.dot8_blocks : 1;
  pack_ = (form == Form::int8 || pixels) && !epilogue_.pooled ? kernels.dot8_pack : nullptr;
  start_bytes_ = start ? kLanes * sizeof(int32_t) : 0;
  arrange(buffers[input], states, threads);
  if (form != Form::bits) return;
  const int together = geometry.groups == 1 ? std::min(blocks_, kMostBlocks) : 1;
  count_groups();
  if (!looks_up(kernels, xnor, together, std::accumulate(groups_.begin(), groups_.end(), int64_t{0}), groups_.size())) return;
  product_ = kernels.lookup;
  at_once_ = together;
  kernels.lookup_weights(weights_.data(), blocks_ * units_);
}

// The byte offsets of the units that cover bits low..high after each tap, ascending as the taps are: as few as possible.
std::vector<int32_t> Convolution::cover(const std::vector<int64_t>& taps, int64_t low, int64_t high) const {
  std::vector<int32_t> offsets;
  int64_t covered = 0;
  for (const int64_t tap : taps)
    for (int64_t at = std::max(covered, (tap + low) / 8); at < divide_up(tap + high, 8); at = covered) {
      offsets.push_back(static_cast<int32_t>(at));
      covered = at + unit_bytes_;
    }
  return offsets;
}

void Convolution::arrange(const Buffer& input, const States& states, int threads) {
  const int per_group = channels_ / geometry_.groups, bits = element_bits(input.form);
  const int64_t beside = 8 * geometry_.stride[1] * input.pixel;  // bits from the window of one pixel to the next one's
  std::vector<int64_t> taps;                                     // bits from the window's first pixel
  for (int y = 0; y < geometry_.kernel[0]; ++y)
    for (int x = 0; x < geometry_.kernel[1]; ++x)
      taps.push_back(8 *
                     (y * int64_t{geometry_.dilation[0]} * input.row + x * int64_t{geometry_.dilation[1]} * input.pixel));

  std::vector<int64_t> all;
  for (int pixel = 0; pixel < fold_.pixels; ++pixel)
    for (const int64_t tap : taps) all.push_back(tap + pixel * beside);
  std::sort(all.begin(), all.end());

  // A block of a grouped convolution reads the inputs of all groups that its 16 channels belong to.
  std::vector<std::vector<int32_t>> tables(geometry_.groups == 1 ? 1 : blocks_);
  for (int b = 0; b < static_cast<int>(tables.size()); ++b) {
    const int64_t first = b * kLanes / per_group, last = std::min(b * kLanes + kLanes - 1, channels_ - 1) / per_group;
    tables[b] = cover(all, first * fan_ * bits, (last + 1) * fan_ * bits + (input.form == Form::pixels ? bits : 0));
    units_ = std::max(units_, static_cast<int>(tables[b].size()));
  }

  const int64_t block_weights = start_bytes_ + int64_t{units_} * kLanes * lane_bytes_;
  weights_.resize(static_cast<size_t>(blocks_ * block_weights));
  parallel_for(blocks_, 1, threads, [&](int64_t begin, int64_t end) {
    const int64_t plane_bytes = divide_up(fan_, 64) * 8, planes = input.form == Form::bits ? taps_ * plane_bytes : 0;
    std::vector<uint8_t> memory, nonzero(planes), minus(planes);
    for (int64_t channel = begin * kLanes; channel < std::min<int64_t>(end * kLanes, channels_); ++channel) {
      const int64_t own = fold_.channel(static_cast<int>(channel));
      if (own < 0) continue;
      const int64_t b = channel / kLanes, lane = channel % kLanes;
      const int64_t group =
          fold_.pixels > 1 ? fold_.pixel(static_cast<int>(channel)) * beside : own / per_group * fan_ * bits;
      const std::vector<int32_t>& table = tables[tables.size() == 1 ? 0 : b];
      uint8_t* const begins = weights_.data() + b * block_weights;
      uint8_t* block = begins + start_bytes_ + lane * (input.form == Form::bits ? 8 : lane_bytes_);
      uint32_t start = 0;  // may wrap, as the sums that it is added to then do
      const uint8_t* indices = states.read(own * fan_ * taps_, int64_t{fan_} * taps_, memory);
      if (planes) to_planes(indices, fan_, taps_, states.N, plane_bytes, nonzero.data(), minus.data());
      for (int tap = 0; tap < taps_; ++tap) {
        if (planes)
          start += place_bits(table, taps[tap] + group, &nonzero[tap * plane_bytes], &minus[tap * plane_bytes], block);
        else
          start -= raise_ * place_levels(table, (taps[tap] + group) / 8, input.form, indices + tap, states.N, block);
      }
      if (start_bytes_) std::memcpy(begins + lane * sizeof start, &start, sizeof start);
    }
  });

  for (const std::vector<int32_t>& table : tables) {
    offsets_.insert(offsets_.end(), table.begin(), table.end());
    offsets_.resize(divide_up(static_cast<int64_t>(offsets_.size()), units_) * units_, table[0]);  // weights there are zero
  }
}

// Up to the last four channels of each unit that have a weight.
void Convolution::count_groups() {
  groups_.assign(offsets_.size(), 0);
  const int64_t block_weights = static_cast<int64_t>(weights_.size()) / blocks_;
  for (int b = 0; b < blocks_; ++b)
    for (int u = 0; u < units_; ++u) {
      uint64_t some[kLanes], all = 0;
      std::memcpy(some, weights_.data() + b * block_weights + start_bytes_ + u * int64_t{2 * sizeof some}, sizeof some);
      for (const uint64_t word : some) all |= word;
      uint8_t& groups = groups_[geometry_.groups == 1 ? u : b * int64_t{units_} + u];
      while (groups < 16 && all >> 4 * groups) ++groups;
    }
}

// One channel's weights for the channels of one tap, which begin `start` bits from the window's first pixel. Returns how
// many are not zero.
int Convolution::place_bits(const std::vector<int32_t>& table, int64_t start, const uint8_t* nonzero, const uint8_t* minus,
                            uint8_t* block) const {
  int count = 0;
  for (int i = 0; i < fan_; i += 64) {
    const int unit = unit_of(table, (start + i) / 8), shift = static_cast<int>(start + i - int64_t{8} * table[unit]);
    uint64_t z, s, *word = reinterpret_cast<uint64_t*>(block) + unit * int64_t{2 * kLanes};
    std::memcpy(&z, nonzero + i / 8, 8);
    std::memcpy(&s, minus + i / 8, 8);
    count += static_cast<int>(std::bitset<64>(z).count());
    word[0] |= z << shift;
    word[kLanes] |= s << shift;
    if (shift + std::min(64, fan_ - i) > 64) {  // the rest is in the next unit, which begins where this one ends
      word[2 * kLanes] |= z >> (64 - shift);
      word[3 * kLanes] |= s >> (64 - shift);
    }
  }
  return count;
}

// The same for levels of bytes or more, `start` bytes from the window's first pixel. Returns their sum as they are placed.
int Convolution::place_levels(const std::vector<int32_t>& table, int64_t start, Form form, const uint8_t* indices, int N,
                              uint8_t* block) const {
  const int bytes = element_bits(form) / 8;
  int sum = 0, unit = unit_of(table, start);
  const auto place = [&](int level) {
    if (start >= table[unit] + unit_bytes_) ++unit;
    block[unit * int64_t{kLanes} * lane_bytes_ + (start - table[unit]) / bytes] = static_cast<uint8_t>(level);
    start += bytes;
  };
  for (int i = 0; i < fan_; ++i, indices += taps_) {
    const int level = N == 0 ? 2 * *indices - 1 : *indices - (1 << (N - 1));
    place(form == Form::pixels ? 2 * level : level);
    sum += level;
  }
  if (form != Form::pixels) return sum;
  place(sum);
  return 3 * sum;
}

// The windows that outputs are computed from; of cells, their first ones.
Grid Convolution::windows(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const int64_t side = epilogue_.side();
  return {run.scratch[input_] + in.at(-geometry_.padding[0], -geometry_.padding[1]), in.image, side * down(in),
          side * right(in), out.height, out.width};
}

gxnor_status Convolution::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const int cell = epilogue_.cell(), most = kStrip / cell;
  const int64_t outputs = run.images * out.pixels(), strips = divide_up(outputs, most);
  const int64_t wanted = run.threads == 1 ? 1 : divide_up(4 * run.threads, strips);
  const int64_t share = divide_up(blocks_, std::min<int64_t>(wanted, blocks_)), shares = divide_up(blocks_, share);
  const int64_t block_weights = static_cast<int64_t>(weights_.size()) / blocks_;

  const Positions seen(windows(buffers, run), run.images), outputs_at(out.grid(run.scratch[output_]), run.images);
  std::optional<Positions> added;
  if (epilogue_.other()) added.emplace(epilogue_.other()->grid(run.scratch[epilogue_.residual->at]), run.images);
  parallel_for(strips * shares, 1, run.threads, [&](int64_t begin, int64_t end) {
    uint8_t *from[kStrip], *to[kStrip], *others[kStrip];
    alignas(64) int32_t sums[kMostBlocks * kStrip * kLanes];
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item / shares * most;
      const int count = static_cast<int>(std::min<int64_t>(most, outputs - first));
      seen.locate(first, count, from);
      for (int p = cell == 1 ? -1 : count - 1; p >= 0; --p) {
        uint8_t* const window = from[p];
        for (int i = 0; i < cell; ++i) from[p * cell + i] = window + i / 2 * down(in) + i % 2 * right(in);
      }
      outputs_at.locate(first, count, to);
      if (added) added->locate(first, count, others);
      const int64_t block = item % shares * share;
      const int64_t after = std::min<int64_t>(block + share, blocks_);
      for (int64_t b = block, some; b < after; b += some) {
        some = std::min<int64_t>(at_once_, after - b);
        const int64_t table = geometry_.groups == 1 ? 0 : b * units_;
        const Window window = {offsets_.data() + table, units_, in.plane, raise_, piece_, static_cast<int>(some),
                               groups_.empty() ? nullptr : &groups_[table]};
        const uint8_t* const weights = weights_.data() + b * block_weights;
        if (pack_ && epilogue_.packs(out, static_cast<int>(b + some) - 1)) {
          pack_(from, count, window, weights, epilogue_.packing(out, static_cast<int>(b), static_cast<int>(some)), to);
          continue;
        }
        product_(from, count * cell, window, weights, sums);
        for (int i = 0; i < some; ++i)
          epilogue_(out, static_cast<int>(b) + i, count, sums + i * count * cell * kLanes, to, others);
      }
    }
  });
  return GXNOR_OK;
}

int64_t Convolution::bytes() const {
  return static_cast<int64_t>(sizeof *this + weights_.size() + groups_.size() + offsets_.size() * sizeof(int32_t)) +
         epilogue_.bytes();
}

}  // namespace gxnor
