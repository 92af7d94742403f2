// The gradient of 3x3 weights by Winograd's F(3x3, 2x2): nine sums over tiles of 2x2 gradients and the 4x4 inputs they meet
// for 16 products instead of 36, exact in integers.
//
//   4 dw = A^T [ sum over tiles of (G q G^T) . (B^T x B) ] A,   B as in kernels/winograd_transform.h,
//   G = [1 0; 1 1; 1 -1; 0 1],   A^T = [2 1 1 0; 0 1 -1 0; 0 1 1 -2]
//
// Added up over the tiles, each of the 16 points is a product of matrices of bytes, with four tiles to a unit of dot8.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/winograd_transform.h"
#include "training/integer_weight.h"
#include "training/team.h"

namespace gxnor {
namespace {

constexpr int kSide = 4, kPoints = kSide * kSide, kTaps = 9;
constexpr int kMostUnits = 128;            // at a time, of four tiles
constexpr int64_t kPanels = int64_t{1} << 22;  // bytes of the points of so many
constexpr int kWide = 32;                  // channels that are transformed together
constexpr int kBlocksWide = kWide / kLanes;
constexpr int kBlock = kLanes * kLanes;    // sums of a block of outputs and a block of inputs

// How many times its bound the gradient is at most at a point.
constexpr int growth(int p) { return (p / kSide % 3 ? 2 : 1) * (p % kSide % 3 ? 2 : 1); }

struct Tiling {
  const gxnor_int_conv& conv;
  const int64_t down = (conv.ho + 1) / 2, across = (conv.wo + 1) / 2, tiles = conv.n * down * across,
                quads = quads_of(tiles);
  const int64_t inputs = (conv.c_in + kWide - 1) / kWide * kBlocksWide,
                outputs = (conv.c_out + kWide - 1) / kWide * kBlocksWide;
  const int64_t most =
      std::min(quads, std::clamp<int64_t>(kPanels / (kPoints * kUnitBytes * (inputs + outputs)), 32, kMostUnits));
};

// kSize x kSize pixels of an image whose first one is at (y, x); those outside, and of no image, are zeros.
template <int kSize>
struct Pixels {
  static constexpr int8_t kZeros[kWide] = {};
  const int8_t* at[kSize * kSize];
  int64_t step[kSize * kSize];

  GXNOR_BODY void locate(const int8_t* image, int64_t height, int64_t width, int64_t channels, int64_t y, int64_t x) {
    for (int i = 0; i < kSize * kSize; ++i) {
      const int64_t row = y + i / kSize, column = x + i % kSize;
      const bool inside = image && row >= 0 && row < height && column >= 0 && column < width;
      at[i] = inside ? image + (row * width + column) * channels : kZeros;
      step[i] = inside;
    }
  }
  // kWide channels from `channel` on, zeros after the last one.
  template <typename Bytes>
  GXNOR_BODY void read(int i, int64_t channel, int64_t channels, Bytes& bytes) const {
    const int8_t* from = at[i] + channel * step[i];
    if (channel + kWide <= channels) {
      load(bytes, from);
      return;
    }
    int8_t some[kWide] = {};
    std::memcpy(some, from, channels - channel);
    load(bytes, some);
  }
};

using Bytes = Some<uint8_t, kWide>;

struct InputTransform {
  static constexpr int kSize = 4;
  GXNOR_BODY static void transform(const Bytes (&x)[kSize], Bytes (&v)[kSide]) { Transform<2>::inputs(x, v); }
};

struct GradientTransform {
  static constexpr int kSize = 2;
  GXNOR_BODY static void transform(const Bytes (&q)[kSize], Bytes (&v)[kSide]) {
    v[0] = q[0];
    v[1] = q[0] + q[1];
    v[2] = q[0] - q[1];
    v[3] = q[1];
  }
};

template <typename Of>
GXNOR_BODY void transform_tile(const Pixels<Of::kSize>& pixels, int64_t channel, int64_t channels, int tile,
                               int8_t (*points)[kQuad][kWide]) {
  Bytes half[Of::kSize][kSide];
#pragma GCC unroll 4
  for (int i = 0; i < Of::kSize; ++i) {
    Bytes row[Of::kSize];
    for (int j = 0; j < Of::kSize; ++j) pixels.read(i * Of::kSize + j, channel, channels, row[j]);
    Of::transform(row, half[i]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < kSide; ++j) {
    Bytes column[Of::kSize], v[kSide];
    for (int i = 0; i < Of::kSize; ++i) column[i] = half[i][j];
    Of::transform(column, v);
    for (int i = 0; i < kSide; ++i) store(points[i * kSide + j][tile], v[i]);
  }
}

// The points of one unit, of x or q with so many channels, to panels [points][blocks], `panel` bytes each; `to` is where
// that unit is.
template <typename Of>
GXNOR_BODY void transform_unit(const Tiling* tiling, const int8_t* tensor, int64_t height, int64_t width, int64_t channels,
                               int64_t unit, int64_t blocks, int64_t panel, int8_t* to) {
  Pixels<Of::kSize> pixels[kQuad];
  for (int i = 0; i < kQuad; ++i) {
    const int64_t tile = unit * kQuad + i, image = tile / (tiling->down * tiling->across);
    const int64_t y = tile / tiling->across % tiling->down * 2, x = tile % tiling->across * 2;
    const int64_t padding[2] = {Of::kSize == 4 ? tiling->conv.padding[0] : 0, Of::kSize == 4 ? tiling->conv.padding[1] : 0};
    pixels[i].locate(tile < tiling->tiles ? tensor + image * height * width * channels : nullptr, height, width, channels,
                     y - padding[0], x - padding[1]);
  }
  alignas(64) int8_t points[kPoints][kQuad][kWide];
  for (int64_t channel = 0; channel < channels; channel += kWide, to += kBlocksWide * panel) {
    for (int i = 0; i < kQuad; ++i) transform_tile<Of>(pixels[i], channel, channels, i, points);
    for (int p = 0; p < kPoints; ++p)
      for (int b = 0; b < kBlocksWide; ++b) {
        const int8_t* rows[kQuad];
        for (int i = 0; i < kQuad; ++i) rows[i] = points[p][i] + b * kLanes;
        interleave(rows, to + (p * blocks + b) * panel);
      }
  }
}

GXNOR_BODY void put(const int32_t* sums, int64_t count, bool first, int32_t* totals) {
  if (first)
    std::memcpy(totals, sums, count * sizeof *sums);
  else
    for (int64_t i = 0; i < count; ++i) totals[i] += sums[i];
}

// dw of one output, of 16 inputs: [9][inputs]. `totals`: its 16 sums of the first point, `point` numbers from one to the
// next.
GXNOR_BODY void finish(const int32_t* totals, int64_t point, int lanes, float scale, int64_t inputs, float* dw) {
  int32_t half[3][kSide][kLanes], sums[kTaps][kLanes];
  const auto outputs = [](int32_t a, int32_t b, int32_t c, int32_t d, int32_t& y0, int32_t& y1, int32_t& y2) {
    y0 = 2 * a + b + c;
    y1 = b - c;
    y2 = b + c - 2 * d;
  };
  for (int j = 0; j < kSide; ++j) {
    const int32_t* m = totals + j * point;
    for (int lane = 0; lane < kLanes; ++lane)
      outputs(m[lane], m[kSide * point + lane], m[2 * kSide * point + lane], m[3 * kSide * point + lane], half[0][j][lane],
              half[1][j][lane], half[2][j][lane]);
  }
  for (int i = 0; i < 3; ++i)
    for (int lane = 0; lane < kLanes; ++lane)
      outputs(half[i][0][lane], half[i][1][lane], half[i][2][lane], half[i][3][lane], sums[3 * i][lane],
              sums[3 * i + 1][lane], sums[3 * i + 2][lane]);
  for (int t = 0; t < kTaps; ++t, dw += inputs)
    for (int lane = 0; lane < lanes; ++lane) dw[lane] = static_cast<float>(sums[t][lane] >> 2) * scale;
}

}  // namespace

bool suits_weight_winograd(const gxnor_int_conv& c) {
  const auto all = [](const int32_t (&pair)[2], int32_t value) { return pair[0] == value && pair[1] == value; };
  constexpr int kSize = 4;  // what the bounds grow by
  return all(c.kernel, 3) && all(c.stride, 1) && all(c.dilation, 1) && c.groups == 1 && c.c_in > kLanes / 2 &&
         kSize * std::max(c.x_bound, c.q_bound) <= INT8_MAX && piece(kSize * c.q_bound, kSize * c.x_bound) > 0 &&
         int64_t{c.n} * c.ho * c.wo * c.q_bound * c.x_bound <= INT32_MAX / 4;
}

int weight_gradient_winograd(const gxnor_int_conv& conv, const int8_t* q, const int8_t* x, const float* scale, float* dw,
                             int threads) {
  const Tiling tiling = {conv};
  const Kernels& kernels = training_kernels();
  const int64_t in_blocks = blocks_of(conv.c_in), out_blocks = blocks_of(conv.c_out),
                point = out_blocks * in_blocks * kBlock;
  const Memory<int8_t> inputs(kPoints * tiling.inputs * (tiling.most + 1) * kUnitBytes);
  const Memory<int8_t> gradients(kPoints * tiling.outputs * tiling.most * kUnitBytes);
  const Memory<int32_t> totals(kPoints * point);
  if (!inputs || !gradients || !totals) return kNoMemory;
  int32_t offsets[kMostUnits];
  for (int u = 0; u < kMostUnits; ++u) offsets[u] = u * kUnitBytes;
  for (int64_t first = 0; first < tiling.quads; first += tiling.most) {
    const int64_t units = std::min(tiling.most, tiling.quads - first);
    const int64_t input_panel = (units + 1) * kUnitBytes, gradient_panel = units * kUnitBytes;  // of one point and block
    team_for(2 * units, 4, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t u = i % units;
        if (i < units)
          vectorised<transform_unit<InputTransform>>(&tiling, x, int64_t{conv.h}, int64_t{conv.w}, int64_t{conv.c_in},
                                                     first + u, tiling.inputs, input_panel,
                                                     inputs.get() + (u + 1) * kUnitBytes);
        else
          vectorised<transform_unit<GradientTransform>>(&tiling, q, int64_t{conv.ho}, int64_t{conv.wo}, int64_t{conv.c_out},
                                                        first + u, tiling.outputs, gradient_panel,
                                                        gradients.get() + u * kUnitBytes);
      }
    });
    team_for(kPoints * in_blocks, 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t p = i / in_blocks, b = i % in_blocks;
        vectorised<begin_block>(inputs.get() + (p * tiling.inputs + b) * input_panel, units, growth(p) * conv.q_bound);
      }
    });
    team_for(kPoints * out_blocks, 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t p = i / out_blocks, o = i % out_blocks;
        const int zero_point = growth(p) * conv.q_bound;
        Window window = {offsets, static_cast<int>(units), 0, zero_point, 0, 1};
        window.piece = std::min(window.units, piece(zero_point, 4 * conv.x_bound));
        const int8_t* panel = gradients.get() + (p * tiling.outputs + o) * gradient_panel;
        const uint8_t* from[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) from[lane] = reinterpret_cast<const uint8_t*>(panel) + kQuad * lane;
        alignas(64) int32_t sums[kMostBlocks * kBlock];
        for (int64_t b = 0; b < in_blocks; b += window.blocks) {
          window.blocks = static_cast<int>(std::min<int64_t>(kernels.dot8_blocks, in_blocks - b));
          kernels.dot8(from, kLanes, window, inputs.get() + (p * tiling.inputs + b) * input_panel, sums);
          vectorised<put>(static_cast<const int32_t*>(sums), int64_t{window.blocks} * kBlock, first == 0,
                          totals.get() + (i * in_blocks + b) * kBlock);
        }
      }
    });
  }
  team_for(conv.c_out, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      for (int64_t b = 0; b < in_blocks; ++b)
        vectorised<finish>(totals.get() + (o / kLanes * in_blocks + b) * kBlock + o % kLanes * kLanes, point,
                           static_cast<int>(std::min<int64_t>(kLanes, conv.c_in - b * kLanes)), scale[o], int64_t{conv.c_in},
                           dw + o * kTaps * conv.c_in + b * kLanes);
  });
  return kDone;
}

}  // namespace gxnor
