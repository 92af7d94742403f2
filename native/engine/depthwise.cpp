#include "engine/depthwise.h"

#include <cstring>

#include "common/vectorise.h"
#include "engine/grid.h"
#include "engine/strips.h"
#include "kernels/depthwise.h"

namespace gxnor {
namespace {

// sums[position][16 lanes] of a block: values times weights, tap by tap, added up as Sum.
template <typename T, typename Sum>
GXNOR_BODY void multiply(const uint8_t* const* windows, int count, const int64_t* offsets, int taps, const int16_t* weights,
                         int32_t* sums) {
  for (int p = 0; p < count; ++p, sums += kLanes) {
    Sum total[kLanes] = {};
    for (int tap = 0; tap < taps; ++tap) {
      T values[kLanes];
      std::memcpy(values, windows[p] + offsets[tap], sizeof values);
      for (int lane = 0; lane < kLanes; ++lane)  // lanes beyond the channels may wrap
        total[lane] = static_cast<Sum>(static_cast<uint32_t>(total[lane]) +
                                       static_cast<uint32_t>(values[lane]) * static_cast<uint32_t>(weights[tap * kLanes + lane]));
    }
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] = total[lane];
  }
}

void multiply_bytes(const uint8_t* const* windows, int count, const int64_t* offsets, int taps, const int16_t* weights,
                    int32_t* sums) {
#if defined(__x86_64__)
  if (isa.load(std::memory_order_relaxed) >= kAvx2) return depthwise_avx2(windows, count, offsets, taps, weights, sums);
#endif
  plain<multiply<int8_t, int16_t>>(windows, count, offsets, taps, weights, sums);
}

}  // namespace

bool Depthwise::suits(const gxnor_layer& layer, int64_t channels) {
  return layer.kind == GXNOR_CONV && layer.groups == channels && layer.out == channels && channels > 1;
}

bool Depthwise::suits_bytes(const gxnor_layer& layer, int64_t channels, int input_space) {
  if (!suits(layer, channels) || input_space < 0 || input_space > 6) return false;  // others are held in more than bytes
  return int64_t{layer.kernel[0]} * layer.kernel[1] * top_level(input_space) * top_level(layer.space) <= INT16_MAX;
}

Depthwise::Depthwise(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry,
                     const States& states, const Fold& fold, Epilogue epilogue)
    : input_(input), output_(output), geometry_(geometry), fold_(fold), epilogue_(std::move(epilogue)) {
  const Buffer& in = buffers[input];
  for (int y = 0; y < geometry.kernel[0]; ++y)
    for (int x = 0; x < geometry.kernel[1]; ++x)
      offsets_.push_back(y * int64_t{geometry.dilation[0]} * in.row + x * int64_t{geometry.dilation[1]} * in.pixel);
  const int64_t taps = static_cast<int64_t>(offsets_.size());
  weights_.resize(divide_up(fold.lanes(), kLanes) * taps * kLanes);
  std::vector<uint8_t> memory;
  const uint8_t* const indices = states.read(0, in.channels * taps, memory);
  for (int lane = 0; lane < fold.lanes(); ++lane)
    for (int64_t tap = 0; tap < taps; ++tap) {
      const int index = indices[fold.channel(lane) * taps + tap];
      weights_[(lane / kLanes * taps + tap) * kLanes + lane % kLanes] =
          static_cast<int16_t>(states.N == 0 ? 2 * index - 1 : index - (1 << (states.N - 1)));
    }
}

gxnor_status Depthwise::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  const int taps = static_cast<int>(offsets_.size());
  const int64_t down = geometry_.stride[0] * in.row, right = fold_.pixels * geometry_.stride[1] * in.pixel;
  const int64_t block_bytes = pixel_bytes(in.form, kLanes);
  const Positions positions({run.scratch[input_] + in.at(-geometry_.padding[0], -geometry_.padding[1]), in.image, down,
                             right, out.height, out.width},
                            run.images);
  each_strip(run, out, epilogue_, output_, [&](int64_t first, int count, int block, int32_t* sums) {
    uint8_t* windows[kStrip];
    positions.locate(first, count, windows, block * block_bytes);
    const uint8_t* const* const all = windows;
    const int16_t* const weights = weights_.data() + int64_t{block} * taps * kLanes;
    if (in.form == Form::int8)
      multiply_bytes(all, count, offsets_.data(), taps, weights, sums);
    else if (in.form == Form::int16)
      vectorised<multiply<int16_t, int32_t>>(all, count, offsets_.data(), taps, weights, sums);
    else
      vectorised<multiply<int32_t, int32_t>>(all, count, offsets_.data(), taps, weights, sums);
  });
  return GXNOR_OK;
}

}  // namespace gxnor
