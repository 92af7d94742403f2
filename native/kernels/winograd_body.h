// What the instruction sets share of Winograd's F(M x M, 3x3) (winograd.h): the steps before and after the products,
// compiled for each of them, and the division of many tiles into as many as a product takes at once.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "common/vectorise.h"
#include "kernels/winograd_transform.h"
#include "kernels/winograd_weights.h"

namespace gxnor {

constexpr int kUsualGroup = 12;  // tiles, of all instruction sets but AMX

// Strips that stay in the second cache beside the weights of one block; and, where two blocks fill that, as many bytes as
// make the expansion cheap.
constexpr int kNearStrip = 448 * 1024, kFarStrip = 1792 * 1024;

// Of one point, and of a fixed number of tiles, with the arguments of PointProducts. 16 bits hold the products of `piece`
// quads, in pairs.
struct TileProduct {
  int tiles;
  void (*run)(const uint8_t* v, int quads, const int8_t* u, const int32_t* offsets, const int32_t* own, int32_t* m,
              int piece);
};

// `kernels`: of the most tiles first, of one tile last. kGroup and kBlocks: those of the WinogradKernels.
template <int M, int kGroup, int kBlocks, int kSizes>
void cut(const TileProduct (&kernels)[kSizes], const PointProducts& of) {
  constexpr Tables<M> kTables;
  for (int p = 0; p < Point<M>::kCount; ++p) {
    const uint8_t* v = of.v + p * of.v_point;
    const int32_t* own = of.own + p * of.own_point;
    int32_t* m = of.m + p * point_stride(kGroup, kBlocks);
    const TileProduct* kernel = kernels;
    for (int tiles = of.tiles; tiles > 0; tiles -= kernel->tiles) {
      while (kernel->tiles > tiles) ++kernel;
      kernel->run(v, of.quads, of.u + p * of.u_point, of.offsets + p * kLanes, own, m, kTables.piece[p] / of.largest);
      v += int64_t{4} * of.quads * kernel->tiles;
      own += kernel->tiles;
      m += kBlocks * kLanes * kernel->tiles;
    }
  }
}

// 8 channels a byte, the first in its lowest bit. No byte borrows: minus only where non-zero.
GXNOR_BODY void winograd_spread(const uint8_t* nonzero, const uint8_t* minus, int64_t bytes, int64_t pixels, uint8_t* levels,
                                int64_t width) {
  constexpr uint64_t kOnes = 0x0101010101010101u;
  const auto apart = [](uint8_t bits) {
    const uint64_t each = bits * kOnes & 0x8040201008040201u;
    return (each + 0x7F7F7F7F7F7F7F7Fu) >> 7 & kOnes;
  };
  for (int64_t p = 0; p < pixels; ++p, nonzero += bytes, minus += bytes, levels += width) {
    for (int64_t i = 0; i < bytes; ++i) store(levels + 8 * i, kOnes + apart(nonzero[i]) - 2 * apart(minus[i]));
    for (int64_t i = bytes; i < width / 8; ++i) store(levels + 8 * i, kOnes);
  }
}

// What is added to V: the size of the point, as many times as the largest level is, which makes it unsigned; nothing; or,
// for fast inner products, 128, but to the second quad of each pair.
enum class Raise { size, none, fip };

// Fast inner products (winograd_fip_avx512.cpp) take the first six quads of each eight in pairs.
constexpr int kFipQuads = 8, kFipPaired = 6;

template <int kSome>
struct FipRaise {
  uint8_t of[kSome];
  constexpr FipRaise() : of() {
    for (int i = 0; i < kSome; ++i) of[i] = i / 4 % 2 && i / 4 % kFipQuads < kFipPaired ? 0 : 128;
  }
};

// kSome channels of one tile.
template <int M, int kSome, Raise kRaise>
GXNOR_BODY void enter_some(const uint8_t* rows, int64_t row, int64_t width, int top, uint8_t* points, int64_t point) {
  using F = Transform<M>;
  using Bytes = Some<uint8_t, kSome>;
  constexpr int kPoints = F::kPoints;
  constexpr Tables<M> kTables;
  const int times = kRaise != Raise::size ? 0 : M == 4 ? 1 : top;  // F(4x4, 3x3) takes no larger levels
  static constexpr FipRaise<kSome> kFip;
  Bytes fip;
  load(fip, kFip.of);
  Bytes half[kPoints][kPoints];  // x B, of levels + 1
#pragma GCC unroll 6
  for (int i = 0; i < kPoints; ++i) {
    Bytes x[kPoints];
    for (int j = 0; j < kPoints; ++j) load(x[j], rows + i * row + j * width);
    F::inputs(x, half[i]);
  }
#pragma GCC unroll 6
  for (int j = 0; j < kPoints; ++j) {
    Bytes column[kPoints], v[kPoints];
    for (int i = 0; i < kPoints; ++i) column[i] = half[i][j];
    F::inputs(column, v);
    for (int i = 0; i < kPoints; ++i) {
      const int p = i * kPoints + j;
      v[i] += static_cast<uint8_t>(kTables.size[p] * times - kTables.ones[p]);
      store(points + p * point, kRaise == Raise::fip ? v[i] + fip : v[i]);
    }
  }
}

// B^T x B of neighbouring tiles, raised. rows: levels + 1 of M + 2 rows of pixels, `row` bytes apart, of `width` channels, a
// multiple of 32; tiles are M pixels apart. points: [points][...][width], `point` bytes from one to the next.
template <int M, int kSome, Raise kRaise = Raise::size>
GXNOR_BODY void winograd_input_transform(const uint8_t* rows, int64_t row, int64_t width, int tiles, int top,
                                         uint8_t* points, int64_t point) {
  for (int tile = 0; tile < tiles; ++tile) {
    int64_t c = 0;
    for (; c + kSome <= width; c += kSome) enter_some<M, kSome, kRaise>(rows + c, row, width, top, points + c, point);
    if (c < width) enter_some<M, 32, kRaise>(rows + c, row, width, top, points + c, point);
    rows += M * width;
    points += width;
  }
}

// Several lanes of a point, as they are added up (unsigned, for they may wrap).
template <int kSome>
using Sums = Some<uint32_t, kSome>;

// Output (i, j) as int32: what it is too large by, which leaves no remainder, divided out.
template <int M, int kSome>
GXNOR_BODY void leave_some(const Sums<kSome>& sums, int i, int j, int32_t* to) {
  constexpr int kShift[4] = {M == 2 ? 1 : 3, M == 2 ? 1 : 2, 1, 1};  // kScale is 1 << kShift where M is 2, else 3 << kShift
  constexpr uint32_t kInverse = M == 2 ? 1 : 0x38E38E39;            // of 1 and of 9
  store(to, (Sums<kSome>)((Some<int32_t, kSome>)sums >> (kShift[i] + kShift[j])) * kInverse);
}

// A^T m A of some lanes of a tile, from the first of its points on.
template <int M, int kSome, int kGroup, int kBlocks>
GXNOR_BODY void winograd_outputs(const int32_t* m, Sums<kSome> (&y)[M][M]) {
  using F = Transform<M>;
  constexpr int kPoints = F::kPoints, kPoint = point_stride(kGroup, kBlocks);
  Sums<kSome> half[M][kPoints];
#pragma GCC unroll 6
  for (int j = 0; j < kPoints; ++j) {
    Sums<kSome> column[kPoints], some[M];
    for (int i = 0; i < kPoints; ++i) load(column[i], m + (i * kPoints + j) * kPoint);
    F::outputs(column, some);
    for (int i = 0; i < M; ++i) half[i][j] = some[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) F::outputs(half[i], y[i]);
}

template <int M, int kSome, int kGroup, int kBlocks>
GXNOR_BODY void winograd_output_transform(const int32_t* m, int tiles, int32_t* sums) {
  constexpr int kCount = kSome / sizeof(int32_t);
  for (int tile = 0; tile < tiles; ++tile, m += kBlocks * kLanes, sums += M * M * kLanes)
    for (int lane = 0; lane < kLanes; lane += kCount) {
      Sums<kSome> y[M][M];
      winograd_outputs<M, kSome, kGroup, kBlocks>(m + lane, y);
      for (int i = 0; i < M; ++i)
        for (int j = 0; j < M; ++j) {
          const int position = (i / 2 * (M / 2) + j / 2) * 4 + i % 2 * 2 + j % 2;
          leave_some<M, kSome>(y[i][j], i, j, sums + position * kLanes + lane);
        }
    }
}

// All kernels of an instruction set whose `products` take one block at a time.
template <int M, Raise kRaise = Raise::size>
constexpr WinogradKernels plain_around(void (*products)(const PointProducts&)) {
  return {plain<winograd_spread>,
          plain<winograd_filter_transform_raised<M, 32>>,
          plain<winograd_input_transform<M, 32, kRaise>>,
          products,
          plain<winograd_output_transform<M, 32, kUsualGroup, 1>>,
          nullptr,
          1,
          kUsualGroup,
          kNearStrip};
}

#if defined(__x86_64__)
template <int M>
constexpr WinogradKernels avx2_around(void (*products)(const PointProducts&)) {
  return {avx2<winograd_spread>,
          avx2<winograd_filter_transform_raised<M, 32>>,
          avx2<winograd_input_transform<M, 32>>,
          products,
          avx2<winograd_output_transform<M, 32, kUsualGroup, 1>>,
          nullptr,
          1,
          kUsualGroup,
          kNearStrip};
}
#endif

}  // namespace gxnor
