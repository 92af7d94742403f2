// What the instruction sets share of Winograd's F(M x M, 3x3) (winograd.h): the steps around the products, compiled for each
// of them, and the cutting of many tiles into as many as a product takes.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "vectorise.h"
#include "winograd_transform.h"
#include "winograd_weights.h"

namespace gxnor {

constexpr int kUsualGroup = 12;  // tiles, of all instruction sets but AMX

// Strips that stay in the second cache beside the weights of one block; and, where two blocks fill that, as many bytes as
// make the expansion cheap.
constexpr int kNearStrip = 448 * 1024, kFarStrip = 1792 * 1024;

// Of one point, and of a fixed number of tiles, with the arguments of PointProducts. 16 bits hold the products of `piece` quads,
// in pairs; where M is 2, of all.
template <int M>
struct TileProduct {
  int tiles;
  void (*run)(const uint8_t* v, int quads, const int8_t* u, const PointSum<M>* offsets, const int32_t* own, PointSum<M>* m,
              int piece);
};

// `kernels`: of the most tiles first, of one tile last. kGroup and kBlocks: those of the WinogradKernels.
template <int M, int kGroup, int kBlocks, int kSizes>
void cut(const TileProduct<M> (&kernels)[kSizes], const PointProducts<M>& of) {
  constexpr Tables<M> kTables;
  for (int p = 0; p < Point<M>::kCount; ++p) {
    const uint8_t* v = of.v + p * of.v_point;
    const int32_t* own = of.own + p * of.own_point;
    PointSum<M>* m = of.m + p * point_stride(kGroup, kBlocks);
    const TileProduct<M>* kernel = kernels;
    for (int tiles = of.tiles; tiles > 0; tiles -= kernel->tiles) {
      while (kernel->tiles > tiles) ++kernel;
      kernel->run(v, of.quads, of.u + p * of.u_point, of.offsets + p * kLanes, own, m, kTables.piece[p]);
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
    for (int64_t i = 0; i < bytes; ++i) put(levels + 8 * i, kOnes + apart(nonzero[i]) - 2 * apart(minus[i]));
    for (int64_t i = bytes; i < width / 8; ++i) put(levels + 8 * i, kOnes);
  }
}

// What is added to V: the size of the point, which makes it unsigned; nothing; or 128, but to three quads of eight
// (winograd_fip_avx512.cpp).
enum class Raise { size, none, fip };

template <int kSome>
struct FipRaise {
  uint8_t of[kSome];
  constexpr FipRaise() : of() {
    for (int i = 0; i < kSome; ++i) of[i] = i / 4 % 2 && i / 4 % 8 < 6 ? 0 : 128;
  }
};

// kSome channels of one tile.
template <int M, int kSome, Raise kRaise>
GXNOR_BODY void enter_some(const uint8_t* rows, int64_t row, int64_t width, uint8_t* points, int64_t point) {
  using F = Transform<M>;
  using Bytes = Some<uint8_t, kSome>;
  constexpr int kPoints = F::kPoints;
  constexpr Tables<M> kTables;
  static constexpr FipRaise<kSome> kFip;
  Bytes fip;
  take(fip, kFip.of);
  Bytes half[kPoints][kPoints];  // x B, of levels + 1
#pragma GCC unroll 6
  for (int i = 0; i < kPoints; ++i) {
    Bytes x[kPoints];
    for (int j = 0; j < kPoints; ++j) take(x[j], rows + i * row + j * width);
    F::inputs(x, half[i]);
  }
#pragma GCC unroll 6
  for (int j = 0; j < kPoints; ++j) {
    Bytes column[kPoints], v[kPoints];
    for (int i = 0; i < kPoints; ++i) column[i] = half[i][j];
    F::inputs(column, v);
    for (int i = 0; i < kPoints; ++i) {
      const int p = i * kPoints + j, raise = kTables.raise[p] - (kRaise == Raise::size ? 0 : kTables.size[p]);
      v[i] += static_cast<uint8_t>(raise);
      put(points + p * point, kRaise == Raise::fip ? v[i] + fip : v[i]);
    }
  }
}

// B^T x B of neighbouring tiles, raised. rows: levels + 1 of M + 2 rows of pixels, `row` bytes apart, of `width` channels, a
// multiple of 32; tiles are M pixels apart. points: [points][...][width], `point` bytes from one to the next.
template <int M, int kSome, Raise kRaise = Raise::size>
GXNOR_BODY void winograd_enter(const uint8_t* rows, int64_t row, int64_t width, int tiles, uint8_t* points, int64_t point) {
  for (int tile = 0; tile < tiles; ++tile) {
    int64_t c = 0;
    for (; c + kSome <= width; c += kSome) enter_some<M, kSome, kRaise>(rows + c, row, width, points + c, point);
    if (c < width) enter_some<M, 32, kRaise>(rows + c, row, width, points + c, point);
    rows += M * width;
    points += width;
  }
}

// Several lanes of a point, as they are added up (unsigned, for they may wrap); `leave` stores output (i, j) as int32, what
// it is too large by, which leaves no remainder, divided out.
template <int M, int kSome>
struct Lanes;

template <int kSome>
struct Lanes<2, kSome> {
  using Sums = Some<uint16_t, kSome>;
  GXNOR_BODY static void leave(const Sums& sums, int, int, int32_t* to) {
    put(to, __builtin_convertvector((Some<int16_t, kSome>)sums >> 2, Some<int32_t, 2 * kSome>));
  }
};

template <int kSome>
struct Lanes<4, kSome> {
  using Sums = Some<uint32_t, kSome>;
  static constexpr uint32_t kNinth = 0x38E38E39;  // times 9 it is 1
  GXNOR_BODY static void leave(const Sums& sums, int i, int j, int32_t* to) {
    constexpr int kShift[4] = {3, 2, 1, 1};  // kScale is 3 << kShift
    put(to, (Sums)((Some<int32_t, kSome>)sums >> (kShift[i] + kShift[j])) * kNinth);
  }
};

// A^T m A of some lanes of a tile, from the first of its points on.
template <int M, int kSome, int kGroup, int kBlocks>
GXNOR_BODY void winograd_outputs(const PointSum<M>* m, typename Lanes<M, kSome>::Sums (&y)[M][M]) {
  using F = Transform<M>;
  using Sums = typename Lanes<M, kSome>::Sums;
  constexpr int kPoints = F::kPoints, kPoint = point_stride(kGroup, kBlocks);
  Sums half[M][kPoints];
#pragma GCC unroll 6
  for (int j = 0; j < kPoints; ++j) {
    Sums column[kPoints], some[M];
    for (int i = 0; i < kPoints; ++i) take(column[i], m + (i * kPoints + j) * kPoint);
    F::outputs(column, some);
    for (int i = 0; i < M; ++i) half[i][j] = some[i];
  }
#pragma GCC unroll 4
  for (int i = 0; i < M; ++i) F::outputs(half[i], y[i]);
}

template <int M, int kSome, int kGroup, int kBlocks>
GXNOR_BODY void winograd_leave(const PointSum<M>* m, int tiles, int32_t* sums) {
  using Sums = typename Lanes<M, kSome>::Sums;
  constexpr int kCount = kSome / sizeof(PointSum<M>);
  for (int tile = 0; tile < tiles; ++tile, m += kBlocks * kLanes, sums += M * M * kLanes)
    for (int lane = 0; lane < kLanes; lane += kCount) {
      Sums y[M][M];
      winograd_outputs<M, kSome, kGroup, kBlocks>(m + lane, y);
      for (int i = 0; i < M; ++i)
        for (int j = 0; j < M; ++j) {
          const int position = (i / 2 * (M / 2) + j / 2) * 4 + i % 2 * 2 + j % 2;
          Lanes<M, kSome>::leave(y[i][j], i, j, sums + position * kLanes + lane);
        }
    }
}

// All kernels of an instruction set whose `products` take one block at a time.
template <int M, Raise kRaise = Raise::size>
constexpr WinogradKernels<M> plain_around(void (*products)(const PointProducts<M>&)) {
  return {plain<winograd_spread>, plain<winograd_expand_raised<M, 32>>, plain<winograd_enter<M, 32, kRaise>>, products,
          plain<winograd_leave<M, 32, kUsualGroup, 1>>, nullptr, 1, kUsualGroup, kNearStrip};
}

#if defined(__x86_64__)
template <int M>
constexpr WinogradKernels<M> avx2_around(void (*products)(const PointProducts<M>&)) {
  return {avx2<winograd_spread>, avx2<winograd_expand_raised<M, 32>>, avx2<winograd_enter<M, 32>>, products,
          avx2<winograd_leave<M, 32, kUsualGroup, 1>>, nullptr, 1, kUsualGroup, kNearStrip};
}
#endif

}  // namespace gxnor
