#include "engine/choice.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>

#include "engine/plan.h"
#include "kernels/winograd_transform.h"

namespace gxnor {
namespace {

constexpr int kChannels = 128, kPositions = 96, kTurns = 8;

template <typename F>
double seconds(F&& body) {
  double best = std::numeric_limits<double>::infinity();
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// By the place of the kernels; 0: not measured yet.
using Known = std::atomic<double>[8];

template <typename F>
double once(Known& known, const Kernels& kernels, F&& measure) {
  int count;
  const Kernels* const* all = all_kernels(&count);
  std::atomic<double>& seconds = known[std::find(all, all + count, &kernels) - all];
  if (seconds == 0) seconds = measure();
  return seconds;
}

// Seconds for the taps of kPositions pixels of 128 channels, held as bits.
double measure_bits(Product product) {
  constexpr int kUnits = 9 * kChannels / 64;
  aligned_vector<uint8_t> values(2 * kUnits * 8 * kPositions), weights((kUnits * 4 + 1) * kLanes * 4);
  aligned_vector<int32_t> sums(kPositions * kLanes);
  int32_t units[kUnits];
  const uint8_t* from[kPositions];
  for (int u = 0; u < kUnits; ++u) units[u] = 8 * u;
  for (int p = 0; p < kPositions; ++p) from[p] = values.data() + 2 * kUnits * 8 * p;
  return seconds([&] { product(from, kPositions, {units, kUnits, kUnits * 8, 0, 0, 1}, weights.data(), sums.data()); });
}

// The same, held as bytes.
double measure_bytes(const Kernels& kernels) {
  constexpr int kUnits = 9 * kChannels / 4, kRaise = 32, kPiece = 255;
  const int blocks = kernels.dot8_blocks;
  aligned_vector<uint8_t> values(kUnits * 4 * kPositions), weights(blocks * (kUnits + 1) * kLanes * 4);
  aligned_vector<int32_t> sums(blocks * kPositions * kLanes);
  int32_t units[kUnits];
  const uint8_t* from[kPositions];
  for (int u = 0; u < kUnits; ++u) units[u] = 4 * u;
  for (int p = 0; p < kPositions; ++p) from[p] = values.data() + kUnits * 4 * p;
  const Window window = {units, kUnits, 0, kRaise, kPiece, blocks};
  return seconds([&] { kernels.dot8(from, kPositions, window, weights.data(), sums.data()); }) / blocks;
}

// Seconds for the points of kPositions tiles of 128 channels, and for their way back to sums.
template <int M>
double measure_tiles(const WinogradKernels& kernels) {
  constexpr int kPoints = Point<M>::kCount, kQuads = kChannels / 4;
  const int group = kernels.group;
  aligned_vector<uint8_t> values(4 * kQuads * group);
  aligned_vector<int8_t> weights(kernels.blocks * kQuads * kLanes * 4);
  aligned_vector<int32_t> own(group);
  aligned_vector<int32_t> products(kPoints * point_stride(group, kernels.blocks));
  aligned_vector<int32_t> offsets(kernels.blocks * kPoints * kLanes);
  aligned_vector<int32_t> sums(M * M * group * kLanes);
  return seconds([&] {
    for (int tiles = 0; tiles < kPositions; tiles += group) {
      kernels.products({values.data(), 0, own.data(), 0, weights.data(), 0, offsets.data(), group, kQuads, kernels.blocks, 1,
                        products.data()});
      for (int b = 0; b < kernels.blocks; ++b) kernels.output_transform(products.data() + b * kLanes, group, sums.data());
    }
  }) / kernels.blocks;
}

// Seconds for the weights of 128 channels.
template <int M>
double measure_expand(const WinogradKernels& kernels) {
  constexpr int kPoints = Point<M>::kCount, kQuads = kChannels / 4, kPoint = kQuads * 4 * kLanes + 64;
  aligned_vector<uint8_t> packed(9 * kQuads * kLanes);
  aligned_vector<int16_t> sums(9 * kLanes);
  aligned_vector<int8_t> points(kPoints * kPoint);
  aligned_vector<int32_t> offsets(kPoints * kLanes);
  const PackedWeights weights = {packed.data(), sums.data(), kQuads, 2, 1};
  return seconds([&] { kernels.filter_transform(weights, 1, points.data(), kPoint, offsets.data()); });
}

using Ways = Known[GXNOR_WINOGRAD4_FIP + 1];

}  // namespace

double direct_cost(const Kernels& kernels, Form form, Xnor xnor, int channels, int height, int width) {
  const int64_t positions = int64_t{height} * width;
  if (form == Form::bits) {
    static Known known[kXnors] = {};
    const double measured = once(known[xnor], kernels, [&] { return measure_bits(kernels.xnor[xnor]); });
    return measured * positions * divide_up(3 * divide_up(channels, 8), 8) / (3 * kChannels / 64);
  }
  static Known known = {};
  const double measured = once(known, kernels, [&] { return measure_bytes(kernels); });
  return measured * positions * divide_up(3 * channels, 4) / (3 * kChannels / 4);
}

double expand_cost(const Kernels& kernels, gxnor_kernel kernel, int channels) {
  static Ways known = {};
  const WinogradKernels& winograd = *kernels.winograd(kernel);
  const double measured = once(known[kernel], kernels, [&] {
    return winograd_side(kernel) == 2 ? measure_expand<2>(winograd) : measure_expand<4>(winograd);
  });
  return measured * kPositions * divide_up(channels, 32) / 4;  // the other costs are of so many positions; 4 times 32 channels
}

double winograd_cost(const Kernels& kernels, gxnor_kernel kernel, int channels, int height, int width) {
  static Ways known = {};
  const WinogradKernels& winograd = *kernels.winograd(kernel);
  const int M = winograd_side(kernel);
  const double measured = once(known[kernel], kernels, [&] {
    return M == 2 ? measure_tiles<2>(winograd) : measure_tiles<4>(winograd);
  });
  return measured * divide_up(height, M) * divide_up(width, M) * divide_up(channels, 32) / 4;  // 4 times 32 were measured
}

}  // namespace gxnor
