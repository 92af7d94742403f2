#include "choice.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>

#include "plan.h"
#include "winograd_transform.h"

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

// Seconds for the taps of kPositions pixels of 128 channels.
double measure_direct(Product product) {
  constexpr int kUnits = 9 * kChannels / 64;
  aligned_vector<uint8_t> values(2 * kUnits * 8 * kPositions), weights((kUnits * 4 + 1) * kLanes * 4);
  aligned_vector<int32_t> sums(kPositions * kLanes);
  int32_t units[kUnits];
  const uint8_t* from[kPositions];
  for (int u = 0; u < kUnits; ++u) units[u] = 8 * u;
  for (int p = 0; p < kPositions; ++p) from[p] = values.data() + 2 * kUnits * 8 * p;
  return seconds([&] { product(from, kPositions, {units, kUnits, kUnits * 8, 0, 0, 1}, weights.data(), sums.data()); });
}

// Seconds for the points of kPositions tiles of 128 channels, and for their way back to sums.
template <int M>
double measure_tiles(const WinogradKernels<M>& kernels) {
  constexpr int kPoints = Point<M>::kCount, kQuads = kChannels / 4;
  const int group = kernels.group;
  aligned_vector<uint8_t> values(4 * kQuads * group);
  aligned_vector<int8_t> weights(kernels.blocks * kQuads * kLanes * 4);
  aligned_vector<int32_t> own(group);
  aligned_vector<PointSum<M>> products(kPoints * point_stride(group, kernels.blocks));
  aligned_vector<PointSum<M>> offsets(kernels.blocks * kPoints * kLanes);
  aligned_vector<int32_t> sums(M * M * group * kLanes);
  return seconds([&] {
    for (int tiles = 0; tiles < kPositions; tiles += group) {
      kernels.products({values.data(), 0, own.data(), 0, weights.data(), 0, offsets.data(), group, kQuads, kernels.blocks,
                        products.data()});
      for (int b = 0; b < kernels.blocks; ++b) kernels.leave(products.data() + b * kLanes, group, sums.data());
    }
  }) / kernels.blocks;
}

// Seconds for the weights of 128 channels.
template <int M>
double measure_expand(const WinogradKernels<M>& kernels) {
  constexpr int kPoints = Point<M>::kCount, kQuads = kChannels / 4, kPoint = kQuads * 4 * kLanes + 64;
  aligned_vector<uint8_t> packed(9 * kQuads * kLanes);
  aligned_vector<int16_t> sums(9 * kLanes);
  aligned_vector<int8_t> points(kPoints * kPoint);
  aligned_vector<PointSum<M>> offsets(kPoints * kLanes);
  return seconds([&] { kernels.expand(packed.data(), sums.data(), kQuads, points.data(), kPoint, offsets.data()); });
}

using Ways = Known[GXNOR_WINOGRAD4_FIP + 1];

// What `measure` says of a kernel, once.
template <typename F>
double of_winograd(Ways& known, const Kernels& kernels, gxnor_kernel kernel, F&& measure) {
  return once(known[kernel], kernels, [&] {
    if (kernel == GXNOR_WINOGRAD2) return measure(kernels.winograd2);
    return measure(kernels.winograd_four(kernel == GXNOR_WINOGRAD4_FIP));
  });
}

}  // namespace

double direct_cost(const Kernels& kernels, Xnor xnor, int channels, int height, int width) {
  static Known known[kXnors] = {};
  const double measured = once(known[xnor], kernels, [&] { return measure_direct(kernels.xnor[xnor]); });
  return measured * height * width * divide_up(3 * divide_up(channels, 8), 8) / 6;  // 6 words a row of taps were measured
}

double expand_cost(const Kernels& kernels, gxnor_kernel kernel, int channels) {
  static Ways known = {};
  const double measured = of_winograd(known, kernels, kernel, [](const auto& winograd) { return measure_expand(winograd); });
  return measured * kPositions * divide_up(channels, 32) / 4;  // the other costs are of so many positions; 4 times 32 channels
}

double winograd_cost(const Kernels& kernels, gxnor_kernel kernel, int channels, int height, int width) {
  static Ways known = {};
  const double measured = of_winograd(known, kernels, kernel, [](const auto& winograd) { return measure_tiles(winograd); });
  const int M = kernel == GXNOR_WINOGRAD2 ? 2 : 4;
  return measured * divide_up(height, M) * divide_up(width, M) * divide_up(channels, 32) / 4;  // 4 times 32 were measured
}

}  // namespace gxnor
