#include "training/integer_winograd.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "engine/choice.h"
#include "engine/winograd.h"
#include "training/team.h"

namespace gxnor {
namespace {

constexpr int kTaps = 9;
constexpr int64_t kTiles = 96;  // at least, that a piece of work has, where there are so many: they share expanded weights

// The weights of 16 output channels, one quad of input channels after the other, from [outputs][9][inputs], or from
// [inputs][9][outputs] with the taps in reverse.
GXNOR_BODY void arrange_block(const int8_t* w, int64_t inputs, int64_t outputs, int64_t first, int quads, bool backward,
                              int top, int8_t* levels, int16_t* sums) {
  static constexpr int8_t kZeros[kTaps * kLanes] = {};
  const int lanes = static_cast<int>(outputs - first < kLanes ? outputs - first : kLanes);
  int32_t total[kTaps][kLanes] = {};
  for (int64_t c = 0; c < int64_t{kQuad} * quads; c += kQuad) {
    for (int t = 0; t < kTaps; ++t, levels += kUnitBytes) {
      if (lanes < kLanes || c + kQuad > inputs) std::memset(levels, 0, kUnitBytes);
      if (backward) {
        const int8_t* rows[kQuad];
        for (int i = 0; i < kQuad; ++i)
          rows[i] = c + i < inputs ? w + ((c + i) * kTaps + kTaps - 1 - t) * outputs + first : kZeros;
        interleave(rows, lanes, levels);
      } else {
        const int8_t* from = w + (first * kTaps + t) * inputs + c;
        if (c + kQuad <= inputs)
          for (int lane = 0; lane < lanes; ++lane, from += kTaps * inputs) std::memcpy(levels + kQuad * lane, from, kQuad);
        else if (c < inputs)
          for (int lane = 0; lane < lanes; ++lane, from += kTaps * inputs)
            std::memcpy(levels + kQuad * lane, from, inputs - c);
      }
      for (int lane = 0; lane < kLanes; ++lane)
        total[t][lane] +=
            levels[kQuad * lane] + levels[kQuad * lane + 1] + levels[kQuad * lane + 2] + levels[kQuad * lane + 3];
      for (int i = 0; i < kUnitBytes; ++i) levels[i] = static_cast<int8_t>(levels[i] + top);
    }
  }
  for (int t = 0; t < kTaps; ++t)
    for (int lane = 0; lane < kLanes; ++lane) sums[t * kLanes + lane] = static_cast<int16_t>(total[t][lane]);
}

WinogradWeights arrange(const Correlation& of, const int8_t* w, bool backward, int threads) {
  WinogradWeights weights(of.channels, of.out_channels, 8, of.w_bound);
  team_for(weights.blocks, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      vectorised<arrange_block>(w, int64_t{of.channels}, int64_t{of.out_channels}, b * kLanes, weights.quads, backward,
                                weights.top, reinterpret_cast<int8_t*>(weights.levels.data() + b * weights.block_bytes()),
                                weights.sums.data() + b * kTaps * kLanes);
  });
  return weights;
}

// Of int32 in their place.
GXNOR_BODY void to_float(float* y, int64_t count, float scale) {
  for (int64_t i = 0; i < count; ++i) {
    int32_t sum;
    std::memcpy(&sum, y + i, sizeof sum);
    y[i] = static_cast<float>(sum) * scale;
  }
}

// And of integers that fit 16 bits.
GXNOR_BODY void to_words(const float* y, int64_t count, int16_t* to) {
  for (int64_t i = 0; i < count; ++i) {
    int32_t sum;
    std::memcpy(&sum, y + i, sizeof sum);
    to[i] = static_cast<int16_t>(sum);
  }
}

// A tensor as the engine's steps see it, without a margin.
Buffer plain_buffer(Form form, int channels, const int size[2]) {
  Buffer buffer(form, channels, size[0], size[1], 0, 0);
  buffer.image = buffer.row * size[0];
  return buffer;
}

template <int M>
int run(const Correlation& of, const WinogradKernels& winograd, const int8_t* x, const int8_t* w, bool backward,
        const float* scale, float* y, int threads, const Take* take) {
  const Kernels& kernels = training_kernels();
  const std::vector<Buffer> buffers = {plain_buffer(Form::int8, of.channels, of.size),
                                       plain_buffer(Form::int32, of.out_channels, of.out)};
  const Winograd<M> convolution(0, 1, of.before, arrange(of, w, backward, threads), of.x_bound, winograd,
                                Epilogue{nullptr, false, false, kernels});
  const int64_t tiles = divide_up(of.out[0], M) * divide_up(of.out[1], M), grain = divide_up(kTiles, tiles);
  const int64_t outputs = int64_t{of.out[0]} * of.out[1] * of.out_channels;
  std::atomic<bool> failed{false};
  team_for(divide_up(of.images, grain), 1, threads, [&](int64_t begin, int64_t end) {
    try {
      const Memory<float> part(take ? grain * outputs : 0);
      const Memory<int16_t> words(take ? grain * outputs : 0);
      if (!part || !words) throw std::bad_alloc();
      for (int64_t image = begin * grain; image < std::min(of.images, end * grain); image += grain) {
        const int64_t images = std::min(grain, of.images - image);
        Scratch tensors({}, images);
        const auto lend = [&](void* memory) { tensors.begins.push_back(static_cast<uint8_t*>(memory)); };
        lend(const_cast<int8_t*>(x) + image * buffers[0].image);
        float* const to = take ? part.get() : y + image * outputs;
        lend(to);
        convolution.run(buffers, {tensors, images, 1, nullptr, nullptr});
        if (take) {
          vectorised<to_words>(static_cast<const float*>(to), images * outputs, words.get());
          (*take)(image, images, words.get());
          continue;
        }
        for (int64_t i = 0; i < images; ++i)
          vectorised<to_float>(to + i * outputs, outputs, scale ? scale[image + i] : 1.0f);
      }
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  });
  return failed ? kNoMemory : kDone;
}

}  // namespace

gxnor_kernel fastest_kernel(const Correlation& of) {
  const auto all = [](const int (&pair)[2], int value) { return pair[0] == value && pair[1] == value; };
  if (!all(of.kernel, 3) || !all(of.stride, 1) || !all(of.up, 1) || !all(of.dilation, 1) || of.groups != 1)
    return GXNOR_DIRECT;
  if (of.before[0] < 0 || of.before[1] < 0 || of.w_bound < 1) return GXNOR_DIRECT;
  const Kernels& kernels = training_kernels();
  gxnor_kernel fastest = GXNOR_DIRECT;
  double least = direct_cost(kernels, Form::int8, kTernary, of.channels, of.out_channels, of.out[0], of.out[1], 1);
  for (const gxnor_kernel kernel : {GXNOR_WINOGRAD2, GXNOR_WINOGRAD4, GXNOR_WINOGRAD2_FIP, GXNOR_WINOGRAD4_FIP}) {
    const bool fip = kernel == GXNOR_WINOGRAD2_FIP || kernel == GXNOR_WINOGRAD4_FIP;
    const bool suits = winograd_side(kernel) == 2 ? Winograd<2>::suits(of.channels, of.x_bound, of.w_bound, fip)
                                                  : Winograd<4>::suits(of.channels, of.x_bound, of.w_bound, fip);
    if (!suits || !kernels.winograd(kernel)) continue;
    const double cost = winograd_cost(kernels, kernel, of.channels, of.out_channels, of.out[0], of.out[1]).image;
    if (cost < least) least = cost, fastest = kernel;
  }
  return fastest;
}

int correlate_winograd(const Correlation& of, gxnor_kernel kernel, const int8_t* x, const int8_t* w, bool backward,
                       const float* scale, float* y, int threads, const Take* take) {
  const WinogradKernels& winograd = *training_kernels().winograd(kernel);
  try {
    return winograd_side(kernel) == 2 ? run<2>(of, winograd, x, w, backward, scale, y, threads, take)
                                      : run<4>(of, winograd, x, w, backward, scale, y, threads, take);
  } catch (const std::bad_alloc&) {
    return kNoMemory;
  } catch (const Failure&) {
    return kUnsupported;
  }
}

}  // namespace gxnor
