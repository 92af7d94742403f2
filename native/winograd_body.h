// What the instruction sets share of Winograd's F(M x M, 3x3) (winograd.h): the steps around the products, compiled for each
// of them, and the cutting of many tiles into as many as a product takes.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels.h"
#include "winograd_transform.h"

namespace gxnor {

// kSome: bytes at a time, 32 or 64.
template <typename T, int kSome>
struct Vector {
  using type [[gnu::vector_size(kSome)]] = T;
};
template <typename T, int kSome>
using Some = typename Vector<T, kSome>::type;

template <typename T>
GXNOR_BODY void take(T& some, const void* from) {
  std::memcpy(&some, from, sizeof some);
}

template <typename T>
GXNOR_BODY void put(void* to, const T& some) {
  std::memcpy(to, &some, sizeof some);
}

constexpr int kUsualGroup = 12;  // tiles, of all instruction sets but AMX

// Strips that stay in the second cache beside the weights of one block; and, where two blocks fill that, as many bytes as
// make the expansion cheap.
constexpr int kNearStrip = 448 * 1024, kFarStrip = 1792 * 1024;

// Of one point, and of a fixed number of tiles. 16 bits hold the products of `piece` quads, in pairs; where M is 2, of all.
template <int M>
struct TileProduct {
  int tiles;
  void (*run)(const uint8_t* v, int quads, const int8_t* u, const PointSum<M>* offsets, PointSum<M>* m, int piece);
};

// `kernels`: of the most tiles first, of one tile last. kGroup and kBlocks: those of the WinogradKernels.
template <int M, int kGroup, int kBlocks, int kSizes>
void cut(const TileProduct<M> (&kernels)[kSizes], const PointProducts<M>& of) {
  constexpr Tables<M> kTables;
  for (int p = 0; p < Point<M>::kCount; ++p) {
    const uint8_t* v = of.v + p * of.v_point;
    PointSum<M>* m = of.m + p * point_stride(kGroup, kBlocks);
    const TileProduct<M>* kernel = kernels;
    for (int tiles = of.tiles; tiles > 0; tiles -= kernel->tiles) {
      while (kernel->tiles > tiles) ++kernel;
      kernel->run(v, of.quads, of.u + p * of.u_point, of.offsets + p * kLanes, m, kTables.piece[p]);
      v += int64_t{4} * of.quads * kernel->tiles;
      m += kBlocks * kLanes * kernel->tiles;
    }
  }
}

// U = G w G^T of 16 output channels. packed: [quads / 4][9 taps][64] bytes; 64 bytes hold 256 levels + 1 in U's order, the
// first 64 in the low two bits. u: [points][quads][16 lanes][4], `point` bytes from one to the next. `quads` is a
// multiple of 8. sums: [9 taps][16 lanes] of the weights; offsets: [points][16 lanes], what U times what V is raised by adds.
template <int M, int kSome>
GXNOR_BODY void winograd_expand(const uint8_t* packed, const int16_t* sums, int quads, int8_t* u, int64_t point,
                                PointSum<M>* offsets) {
  using F = Transform<M>;
  constexpr int kPoints = F::kPoints;
  constexpr Tables<M> kTables;
  using Sums = Some<int32_t, kSome>;
  using Narrow = Some<PointSum<M>, kSome / sizeof(int32_t) * sizeof(PointSum<M>)>;
  constexpr int kCount = kSome / sizeof(int32_t);
  for (int lane = 0; lane < kLanes; lane += kCount) {
    Sums half[3][kPoints];
    for (int row = 0; row < 3; ++row) {
      Sums w[3];
      for (int j = 0; j < 3; ++j) {
        Some<int16_t, kSome / 2> some;
        take(some, sums + (3 * row + j) * kLanes + lane);
        w[j] = __builtin_convertvector(some, Sums);
      }
      F::weights(w, half[row]);
    }
    for (int j = 0; j < kPoints; ++j) {
      const Sums column[3] = {half[0][j], half[1][j], half[2][j]};
      Sums points[kPoints];
      F::weights(column, points);
      for (int k = 0; k < kPoints; ++k) {
        const int p = k * kPoints + j;
        put(offsets + p * kLanes + lane, __builtin_convertvector(-kTables.size[p] * points[k], Narrow));
      }
    }
  }
  using Bytes = Some<uint8_t, kSome>;
  const int64_t tap = int64_t{quads} * kLanes;
  for (int64_t i = 0; i < tap; i += kSome) {
    const uint8_t* from = packed + i / kPacked * 9 * kPacked + i % kPacked;
    int8_t* to = u + i / kPacked * 4 * kPacked + i % kPacked;
    for (int t = 0; t < 9; ++t) __builtin_prefetch(from + (t + 9) * kPacked);  // these come from beyond the second cache
#pragma GCC unroll 4
    for (int field = 0; field < 4; ++field) {
      Bytes half[3][kPoints];
      for (int row = 0; row < 3; ++row) {
        Bytes w[3];
        for (int j = 0; j < 3; ++j) {
          Some<uint64_t, kSome> words;  // bytes have no shift of their own
          take(words, from + (3 * row + j) * kPacked);
          words >>= 2 * field;
          w[j] = ((Bytes)words & 3) - 1;  // the same bits
        }
        F::weights(w, half[row]);
      }
#pragma GCC unroll 6
      for (int j = 0; j < kPoints; ++j) {
        const Bytes column[3] = {half[0][j], half[1][j], half[2][j]};
        Bytes points[kPoints];
        F::weights(column, points);
        for (int k = 0; k < kPoints; ++k) put(to + (k * kPoints + j) * point + field * kPacked, points[k]);
      }
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

// kSome channels of one tile.
template <int M, int kSome, bool kRaised>
GXNOR_BODY void enter_some(const uint8_t* rows, int64_t row, int64_t width, uint8_t* points, int64_t point) {
  using F = Transform<M>;
  using Bytes = Some<uint8_t, kSome>;
  constexpr int kPoints = F::kPoints;
  constexpr Tables<M> kTables;
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
      const int p = i * kPoints + j, raise = kTables.raise[p] - (kRaised ? 0 : kTables.size[p]);
      put(points + p * point, v[i] + static_cast<uint8_t>(raise));
    }
  }
}

// B^T x B of neighbouring tiles, each point raised by Point::size if kRaised. rows: levels + 1 of M + 2 rows of pixels,
// `row` bytes apart, of `width` channels, a multiple of 32; tiles are M pixels apart. points: [points][...][width], `point`
// bytes from one to the next.
template <int M, int kSome, bool kRaised = true>
GXNOR_BODY void winograd_enter(const uint8_t* rows, int64_t row, int64_t width, int tiles, uint8_t* points, int64_t point) {
  for (int tile = 0; tile < tiles; ++tile) {
    int64_t c = 0;
    for (; c + kSome <= width; c += kSome) enter_some<M, kSome, kRaised>(rows + c, row, width, points + c, point);
    if (c < width) enter_some<M, 32, kRaised>(rows + c, row, width, points + c, point);
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
template <int M, bool kRaised = true>
constexpr WinogradKernels<M> plain_around(void (*products)(const PointProducts<M>&)) {
  return {plain<winograd_spread>, plain<winograd_expand<M, 32>>, plain<winograd_enter<M, 32, kRaised>>, products,
          plain<winograd_leave<M, 32, kUsualGroup, 1>>, nullptr, 1, kUsualGroup, kNearStrip};
}

#if defined(__x86_64__)
template <int M>
constexpr WinogradKernels<M> avx2_around(void (*products)(const PointProducts<M>&)) {
  return {avx2<winograd_spread>, avx2<winograd_expand<M, 32>>, avx2<winograd_enter<M, 32>>, products,
          avx2<winograd_leave<M, 32, kUsualGroup, 1>>, nullptr, 1, kUsualGroup, kNearStrip};
}
#endif

}  // namespace gxnor
