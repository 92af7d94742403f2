#include "training/integer_direct.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "training/team.h"

namespace gxnor {
namespace {

constexpr int kStrip = 64;           // positions that one block of weights is applied to in turn
constexpr int64_t kPositions = 256;  // at least, that a piece of work has, where every thread then has one

// Rows and columns of x, spread out and surrounded, that windows reach.
int64_t reach(const Correlation& of, int axis) {
  return (of.out[axis] - 1) * int64_t{of.stride[axis]} + (of.kernel[axis] - 1) * int64_t{of.dilation[axis]} + 1;
}

GXNOR_BODY void put(int32_t sum, float scale, float& y) { y = static_cast<float>(sum) * scale; }
GXNOR_BODY void put(int32_t sum, float, int16_t& y) { y = static_cast<int16_t>(sum); }

template <typename T>
GXNOR_BODY void write(const int32_t* sums, int count, int lanes, const float* scales, T* y, int64_t pixel) {
  for (int p = 0; p < count; ++p, sums += kLanes, y += pixel) {
    if (lanes == kLanes)
      for (int lane = 0; lane < kLanes; ++lane) put(sums[lane], scales[p], y[lane]);
    else
      for (int lane = 0; lane < lanes; ++lane) put(sums[lane], scales[p], y[lane]);
  }
}

// The outputs of some images, from x, surrounded, in bytes or bits, `plane` bytes of each kind.
template <typename T>
void products(const Correlation& of, const uint8_t* x, int64_t plane, int64_t image, int64_t images, const Panels& w,
              const float* scale, T* y) {
  const int64_t pixels = int64_t{of.out[0]} * of.out[1];
  const int64_t fan = of.channels / of.groups, outputs = of.out_channels / of.groups;
  const uint8_t* from[kStrip];
  float scales[kStrip];
  alignas(64) int32_t sums[kMostBlocks * kStrip * kLanes];
  const int64_t per_byte = w.bits ? 8 : 1;  // values of x
  Window window = {w.offsets.get(), static_cast<int>(w.units), plane, of.x_bound, 0, 1, w.fours.get()};
  window.piece = std::min(window.units, piece(of.x_bound, of.w_bound));
  for (int64_t first = 0; first < images * pixels; first += kStrip) {
    const int count = static_cast<int>(std::min<int64_t>(kStrip, images * pixels - first));
    for (int p = 0; p < count; ++p) {
      const int64_t at = (first + p) / pixels;
      from[p] = x + (at * surrounded_bytes(of) + first_byte(of, (first + p) % pixels)) / per_byte;
      scales[p] = scale ? scale[image + at] : 1.0f;
    }
    for (int64_t group = 0; group < of.groups; ++group) {
      for (int64_t b = 0; b < w.group_blocks; b += window.blocks) {
        window.blocks = static_cast<int>(std::min<int64_t>(w.at_once, w.group_blocks - b));
        w.product(from, count, window, w.block(group * w.group_blocks + b), sums);
        for (int i = 0; i < window.blocks; ++i) {
          const int64_t lane = (b + i) * kLanes;
          vectorised<write<T>>(static_cast<const int32_t*>(sums + i * count * kLanes), count,
                            static_cast<int>(std::min<int64_t>(kLanes, outputs - lane)), static_cast<const float*>(scales),
                            y + first * of.out_channels + group * outputs + lane, int64_t{of.out_channels});
        }
      }
      for (int p = 0; p < count; ++p) from[p] += fan;
    }
  }
}

}  // namespace

int64_t row_bytes(const Correlation& of) { return reach(of, 1) * of.channels; }

int64_t surrounded_bytes(const Correlation& of) { return reach(of, 0) * row_bytes(of); }

int64_t first_byte(const Correlation& of, int64_t output) {
  return output / of.out[1] * of.stride[0] * row_bytes(of) + output % of.out[1] * of.stride[1] * of.channels;
}

void surround(const Correlation& of, const int8_t* x, int8_t* to) {
  const int64_t rows = reach(of, 0), columns = reach(of, 1), pixel = of.channels;
  std::memset(to, 0, rows * columns * pixel);
  const auto first = [&](int axis) { return std::max(0, (-of.before[axis] + of.up[axis] - 1) / of.up[axis]); };
  const auto last = [&](int axis) {  // the first pixel that no window reaches
    const int64_t end = (reach(of, axis) - of.before[axis] + of.up[axis] - 1) / of.up[axis];
    return std::clamp<int64_t>(end, first(axis), std::max(first(axis), of.size[axis]));
  };
  const int64_t left = first(1), right = last(1), bottom = last(0);
  for (int64_t y = first(0); y < bottom; ++y) {
    const int8_t* from = x + (y * of.size[1] + left) * pixel;
    int8_t* row = to + ((of.before[0] + y * of.up[0]) * columns + of.before[1] + left * of.up[1]) * pixel;
    if (of.up[1] == 1) {
      std::memcpy(row, from, (right - left) * pixel);
      continue;
    }
    for (int64_t column = left; column < right; ++column, from += pixel, row += of.up[1] * pixel)
      std::memcpy(row, from, pixel);
  }
}

int correlate(const Correlation& of, const int8_t* x, const Panels& w, const float* scale, float* y, int threads,
              const Take* take) {
  const int64_t surrounded = surrounded_bytes(of), pixels = int64_t{of.out[0]} * of.out[1];
  const int64_t size = int64_t{of.size[0]} * of.size[1] * of.channels;
  if (!w) return kNoMemory;
  if (surrounded > INT32_MAX) return kUnsupported;
  const int64_t grain = std::min((kPositions + pixels - 1) / pixels, (of.images + threads - 1) / threads);
  std::atomic<bool> failed{false};
  team_for((of.images + grain - 1) / grain, 1, threads, [&](int64_t begin, int64_t end) {
    const Memory<int8_t> memory(grain * surrounded + kLookupChannels);  // a unit may reach beyond the last channel
    const int64_t plane = w.bits ? grain * surrounded / 8 + kLookupChannels / 8 : 0;
    const Memory<uint8_t> states(2 * plane);
    const Memory<int16_t> part(take ? grain * pixels * of.out_channels : 0);
    if (!memory || !states || !part) {
      failed = true;
      return;
    }
    for (int64_t image = begin * grain; image < std::min(of.images, end * grain); image += grain) {
      const int64_t images = std::min(grain, of.images - image);
      for (int64_t i = 0; i < images; ++i) surround(of, x + (image + i) * size, memory.get() + i * surrounded);
      if (w.bits) pack_states(memory.get(), images * surrounded, plane, states.get());
      const uint8_t* const operand = w.bits ? states.get() : reinterpret_cast<const uint8_t*>(memory.get());
      if (!take) {
        products(of, operand, plane, image, images, w, scale, y + image * pixels * of.out_channels);
        continue;
      }
      products(of, operand, plane, image, images, w, scale, part.get());
      (*take)(image, images, part.get());
    }
  });
  return failed ? kNoMemory : kDone;
}

}  // namespace gxnor
