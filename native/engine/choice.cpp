// The measurement behind the choice of a kernel (choice.h): each kernel, once per process.
#include "engine/choice.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include "engine/winograd.h"
#include "kernels/winograd_transform.h"

namespace gxnor {
namespace {

constexpr int kMost = 128;  // channels that are measured; more take in proportion
constexpr int kPositions = 96, kTurns = 8;

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

// What `measure` gives, measured once for each kernel and key, such as a number of channels.
template <typename F>
double once(const void* kernel, int key, F&& measure) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, int>, double> known;
  std::lock_guard<std::mutex> lock(mutex);
  double& seconds = known[{kernel, key}];
  if (seconds == 0) seconds = measure();
  return seconds;
}

// What the windows of 3x3 pixels of neighbouring ones cover.
int units_of(Form form, int channels, int pixels) {
  const int columns = pixels + 2;
  return static_cast<int>(
      3 * (form == Form::bits ? divide_up(columns * divide_up(channels, 8), 8) : divide_up(columns * channels, 4)));
}

std::vector<uint8_t> groups_of(int channels, int pixels) {  // of each unit of bits (Window)
  const int count = units_of(Form::bits, channels, pixels);
  const int bytes = static_cast<int>((pixels + 2) * divide_up(channels, 8));
  std::vector<uint8_t> groups(count, 16);
  for (int u = count / 3 - 1; u < count; u += count / 3) groups[u] = static_cast<uint8_t>(2 * ((bytes - 1) % 8 + 1));
  return groups;
}

// Seconds for the windows of kPositions pixels of so many channels of bits, for one of `blocks` that a product takes.
double measure_bits(Product product, int blocks, int channels, int pixels) {
  const int count = units_of(Form::bits, channels, pixels);
  aligned_vector<uint8_t> values(2 * count * 8 * kPositions), weights(blocks * (count * 4 + 1) * kLanes * 4);
  aligned_vector<int32_t> sums(blocks * kPositions * kLanes);
  std::vector<int32_t> units(count);
  const std::vector<uint8_t> groups = groups_of(channels, pixels);
  const uint8_t* from[kPositions];
  for (int u = 0; u < count; ++u) units[u] = 8 * u;
  for (int p = 0; p < kPositions; ++p) from[p] = values.data() + 2 * count * 8 * p;
  return seconds([&] { product(from, kPositions, {units.data(), count, count * 8, 0, 0, blocks, groups.data()}, weights.data(),
                               sums.data()); }) / blocks;
}

// The same, of quads of bytes.
double measure_bytes(const Kernels& kernels, int channels, int pixels) {
  constexpr int kRaise = 32, kPiece = 255;
  const int blocks = kernels.dot8_blocks, count = units_of(Form::int8, channels, pixels);
  aligned_vector<uint8_t> values(count * 4 * kPositions), weights(blocks * (count + 1) * kLanes * 4);
  aligned_vector<int32_t> sums(blocks * kPositions * kLanes);
  std::vector<int32_t> units(count);
  const uint8_t* from[kPositions];
  for (int u = 0; u < count; ++u) units[u] = 4 * u;
  for (int p = 0; p < kPositions; ++p) from[p] = values.data() + count * 4 * p;
  const Window window = {units.data(), count, 0, kRaise, kPiece, blocks, nullptr};
  return seconds([&] { kernels.dot8(from, kPositions, window, weights.data(), sums.data()); }) / blocks;
}

// Seconds for the points of kPositions tiles of so many channels, and for their way back to the sums of a block.
template <int M>
double measure_tiles(const WinogradKernels& kernels, int channels) {
  constexpr int kPoints = Point<M>::kCount;
  const int group = kernels.group, quads = channels / 4;
  aligned_vector<uint8_t> values(4 * quads * group);
  aligned_vector<int8_t> weights(kernels.blocks * quads * kLanes * 4);
  aligned_vector<int32_t> own(group);
  aligned_vector<int32_t> products(kPoints * point_stride(group, kernels.blocks));
  aligned_vector<int32_t> offsets(kernels.blocks * kPoints * kLanes);
  aligned_vector<int32_t> sums(M * M * group * kLanes);
  return seconds([&] {
    for (int tiles = 0; tiles < kPositions; tiles += group) {
      kernels.products({values.data(), 0, own.data(), 0, weights.data(), 0, offsets.data(), group, quads, kernels.blocks, 1,
                        products.data()});
      for (int b = 0; b < kernels.blocks; ++b) kernels.output_transform(products.data() + b * kLanes, group, sums.data());
    }
  }) / kernels.blocks;
}

// Seconds for the way of kPositions tiles of bits to points, which all blocks share.
template <int M>
double measure_windows(const WinogradKernels& kernels, int channels) {
  constexpr int kPoints = Point<M>::kCount, kTiles = 8, kPixels = M * kTiles + 2;
  const int bytes = channels / 8, point = kTiles * channels + 64;
  aligned_vector<uint8_t> bits(bytes * kPixels + 64), rows((M + 2) * kPixels * channels), points(kPoints * point);
  aligned_vector<int32_t> own(kPoints * kTiles);
  return seconds([&] {
    for (int tiles = 0; tiles < kPositions; tiles += kTiles) {
      for (int row = 0; row < M + 2; ++row)
        kernels.spread(bits.data(), bits.data(), bytes, kPixels, rows.data() + row * kPixels * channels, channels);
      kernels.input_transform(rows.data(), kPixels * channels, channels, kTiles, 1, points.data(), point);
      if (kernels.own) kernels.own(points.data(), point, kTiles, channels / 4, own.data(), kTiles);
    }
  });
}

// Seconds for the weights of a block.
template <int M>
double measure_expand(const WinogradKernels& kernels, int channels) {
  constexpr int kPoints = Point<M>::kCount;
  const int quads = channels / 4, point = quads * 4 * kLanes + 64;
  aligned_vector<uint8_t> packed(9 * quads * kLanes);
  aligned_vector<int16_t> sums(9 * kLanes);
  aligned_vector<int8_t> points(kPoints * point);
  aligned_vector<int32_t> offsets(kPoints * kLanes);
  const PackedWeights weights = {packed.data(), sums.data(), quads, 2, 1};
  return seconds([&] { kernels.filter_transform(weights, 1, points.data(), point, offsets.data()); });
}

template <int M>
WinogradCost measure_winograd(const WinogradKernels& kernels, int channels, int outputs, int height, int width) {
  const int padded = static_cast<int>(divide_up(channels, 32)) * 32, some = std::min(padded, kMost);
  const double share = static_cast<double>(padded) / some / kPositions;
  const int64_t blocks = divide_up(outputs, kLanes), tiles = divide_up(height, M) * divide_up(width, M);
  const auto windows = once(&kernels.spread, some, [&] { return measure_windows<M>(kernels, some); });
  const auto products = once(&kernels.products, some, [&] { return measure_tiles<M>(kernels, some); });
  const auto expand = once(&kernels.filter_transform, some, [&] { return measure_expand<M>(kernels, some); });
  return {share * tiles * (windows + blocks * products), share * kPositions * blocks * expand};
}

}  // namespace

double direct_cost(const Kernels& kernels, Form form, Xnor xnor, int channels, int outputs, int height, int width,
                   int pixels) {
  const int64_t of = divide_up(outputs, kLanes);
  const double windows = static_cast<double>(height) * width * static_cast<double>(of) / kPositions;
  const bool bits = form == Form::bits;
  const int some = std::min(channels, kMost);
  const int together = static_cast<int>(std::min<int64_t>(kMostBlocks, of));
  const std::vector<uint8_t> groups = groups_of(some, pixels);
  const bool lookup = bits && Convolution::looks_up(kernels, xnor, together, std::accumulate(groups.begin(), groups.end(), 0),
                                                    static_cast<int64_t>(groups.size()));
  const int blocks = lookup ? together : 1;
  const Product* const kernel = lookup ? &kernels.lookup : bits ? &kernels.xnor[xnor] : &kernels.dot8;
  const double measured = once(kernel, (some * (kMostBlocks + 1) + blocks) * (kLanes + 1) + pixels, [&] {
    return bits ? measure_bits(*kernel, blocks, some, pixels) : measure_bytes(kernels, some, pixels);
  });
  return measured * windows * units_of(form, channels, pixels) / units_of(form, some, pixels);
}

WinogradCost winograd_cost(const Kernels& kernels, gxnor_kernel kernel, int channels, int outputs, int height, int width) {
  const WinogradKernels& winograd = *kernels.winograd(kernel);
  return winograd_side(kernel) == 2 ? measure_winograd<2>(winograd, channels, outputs, height, width)
                                    : measure_winograd<4>(winograd, channels, outputs, height, width);
}

Choice choose(const Kernels& kernels, int wanted, const Buffer& input, int top, const Geometry& geometry, int space,
              const Value& output, Xnor xnor, const Fold& fold) {
  std::vector<gxnor_kernel> ways;
  const auto consider = [&](gxnor_kernel kernel, bool suits) {
    if (suits && kernels.winograd(kernel) && (wanted == GXNOR_CHOOSE || wanted == kernel)) ways.push_back(kernel);
  };
  consider(GXNOR_WINOGRAD2, Winograd<2>::suits(input, geometry, top, space, false));
  consider(GXNOR_WINOGRAD4, Winograd<4>::suits(input, geometry, top, space, false));
  consider(GXNOR_WINOGRAD2_FIP, Winograd<2>::suits(input, geometry, top, space, true));
  consider(GXNOR_WINOGRAD4_FIP, Winograd<4>::suits(input, geometry, top, space, true));
  if (ways.empty()) return {};
  if (wanted != GXNOR_CHOOSE) return {ways[0]};
  Choice choice;
  const int outputs = static_cast<int>(output.channels);
  const double direct = direct_cost(kernels, input.form, xnor, input.channels, fold.lanes(), output.height,
                                    static_cast<int>(output.width) / fold.pixels, fold.pixels);
  double least = direct;
  for (const gxnor_kernel kernel : ways) {
    const WinogradCost cost = winograd_cost(kernels, kernel, input.channels, outputs, output.height, output.width);
    if (cost.image >= least) continue;
    choice = {kernel, cost.expand / (direct - cost.image)};
    least = cost.image;
  }
  return choice.direct_below > kMostImages ? Choice() : choice;  // never so many
}

}  // namespace gxnor
