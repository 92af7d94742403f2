#include "choice.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>

#include "plan.h"

namespace gxnor {
namespace {

constexpr int kChannels = 128, kPositions = 24, kTurns = 8;

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

// Seconds that the 16 points of a tile take over those of the taps of a pixel, of 128 channels.
double measure(const WinogradKernels& winograd, Product product) {
  constexpr int kUnits = 9 * kChannels / 64, kQuads = kChannels / 4;
  aligned_vector<uint8_t> values(std::max(2 * kUnits * 8, 4 * kQuads) * kPositions), weights((kUnits * 4 + 1) * kLanes * 4),
      points(kQuads * kLanes * 4);
  aligned_vector<int32_t> sums(kPositions * kLanes);
  aligned_vector<int16_t> products(kPositions * kLanes), offsets(kLanes);
  int32_t units[kUnits];
  const uint8_t* from[kPositions];
  for (int u = 0; u < kUnits; ++u) units[u] = 8 * u;
  for (int p = 0; p < kPositions; ++p) from[p] = values.data() + 2 * kUnits * 8 * p;
  const double direct =
      seconds([&] { product(from, kPositions, {units, kUnits, kUnits * 8}, weights.data(), sums.data()); });
  const double tiles = seconds([&] {
    for (int point = 0; point < 16; ++point)
      winograd.product(values.data(), kPositions, kQuads, reinterpret_cast<int8_t*>(points.data()), offsets.data(),
                       products.data());
  });
  return tiles / direct;
}

}  // namespace

bool winograd_pays(const Kernels& kernels, Xnor xnor, int channels, int height, int width) {
  static std::atomic<double> known[8][kXnors] = {};  // by the place of the kernels, and the product; 0: not measured yet
  int count;
  const Kernels* const* all = all_kernels(&count);
  std::atomic<double>& ratio = known[std::find(all, all + count, &kernels) - all][xnor];
  if (ratio == 0) ratio = measure(kernels.winograd, kernels.xnor[xnor]);
  const double tiles = static_cast<double>(divide_up(height, 2)) * divide_up(width, 2) * divide_up(channels, 32) / 4;
  const double pixels = static_cast<double>(height) * width * divide_up(3 * divide_up(channels, 8), 8) / 6;
  return tiles * ratio < pixels;  // both in parts of what was measured: 128 channels are 4 times 32, 6 words a row of taps
}

}  // namespace gxnor
