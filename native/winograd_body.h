// What the instruction sets share of Winograd's F(M x M, 3x3) (winograd.h): the steps around the products, compiled for each
// of them, and the cutting of many tiles into as many as a product takes.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels.h"
#include "winograd_transform.h"

namespace gxnor {

constexpr int kSome = 32;  // bytes at a time
using Bytes [[gnu::vector_size(kSome)]] = uint8_t;
using Words [[gnu::vector_size(kSome)]] = uint64_t;

template <typename T>
GXNOR_BODY void take(T& some, const void* from) {
  std::memcpy(&some, from, sizeof some);
}

template <typename T>
GXNOR_BODY void put(void* to, const T& some) {
  std::memcpy(to, &some, sizeof some);
}

// A product as WinogradKernels has it, of a fixed number of tiles.
template <int M>
struct TileProduct {
  int tiles;
  void (*run)(const uint8_t* v, int quads, const int8_t* u, const PointSum<M>* offsets, PointSum<M>* m, int piece);
};

// `products`: of the most tiles first, of one tile last.
template <int M, int kSizes>
void cut(const TileProduct<M> (&products)[kSizes], const uint8_t* v, int tiles, int quads, const int8_t* u,
         const PointSum<M>* offsets, PointSum<M>* m, int piece) {
  for (const TileProduct<M>& product : products)
    for (; tiles >= product.tiles; tiles -= product.tiles) {
      product.run(v, quads, u, offsets, m, piece);
      v += int64_t{4} * quads * product.tiles;
      m += kLanes * product.tiles;
    }
}

// U = G w G^T of 16 output channels. packed: [9 taps][quads * 16] bytes; each 32 bytes hold 128 levels + 1 in U's order, the
// first 32 in the low two bits. u: [points][quads][16 lanes][4], `point` bytes from one to the next. `quads` is a
// multiple of 8. sums: [9 taps][16 lanes] of the weights; offsets: [points][16 lanes], what U times what V is raised by adds.
template <int M>
GXNOR_BODY void winograd_expand(const uint8_t* packed, const int16_t* sums, int quads, int8_t* u, int64_t point,
                                PointSum<M>* offsets) {
  using F = Transform<M>;
  constexpr int kPoints = F::kPoints;
  for (int lane = 0; lane < kLanes; ++lane) {
    int32_t half[3][kPoints];
    for (int row = 0; row < 3; ++row) {
      const int16_t* of = sums + 3 * row * kLanes + lane;
      const int32_t w[3] = {of[0], of[kLanes], of[2 * kLanes]};
      F::weights(w, half[row]);
    }
    for (int j = 0; j < kPoints; ++j) {
      const int32_t column[3] = {half[0][j], half[1][j], half[2][j]};
      int32_t points[kPoints];
      F::weights(column, points);
      for (int k = 0; k < kPoints; ++k) {
        const int p = k * kPoints + j;
        offsets[p * kLanes + lane] = static_cast<PointSum<M>>(-Point<M>::size(p) * points[k]);
      }
    }
  }
  const int64_t tap = int64_t{quads} * kLanes;
  for (int64_t i = 0; i < tap; i += kSome) {
    for (int field = 0; field < 4; ++field) {
      Bytes half[3][kPoints];
      for (int row = 0; row < 3; ++row) {
        Bytes w[3];
        for (int j = 0; j < 3; ++j) {
          Words words;  // bytes have no shift of their own
          take(words, packed + (3 * row + j) * tap + i);
          words >>= 2 * field;
          w[j] = (Bytes)words & 3;  // the same bits
        }
        F::weights(w, half[row]);
      }
      for (int j = 0; j < kPoints; ++j) {
        const Bytes column[3] = {half[0][j], half[1][j], half[2][j]};
        Bytes points[kPoints];
        F::weights(column, points);
        for (int k = 0; k < kPoints; ++k)  // less what the points of levels + 1 are too large
          put(u + (k * kPoints + j) * point + 4 * i + field * kSome,
              points[k] - static_cast<uint8_t>(row_sum(F::kG[k]) * row_sum(F::kG[j])));
      }
    }
  }
}

// B^T x B of neighbouring tiles, each point raised by Point::size. rows: levels + 1 of M + 2 rows of pixels, `row` bytes apart,
// of `width` channels, a multiple of 32; tiles are M pixels apart. points: [points][...][width], `point` bytes from one to
// the next.
template <int M>
GXNOR_BODY void winograd_enter(const uint8_t* rows, int64_t row, int64_t width, int tiles, uint8_t* points, int64_t point) {
  using F = Transform<M>;
  constexpr int kPoints = F::kPoints;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int64_t c = 0; c < width; c += kSome) {
      Bytes half[kPoints][kPoints];  // x B, of levels + 1
      for (int i = 0; i < kPoints; ++i) {
        Bytes x[kPoints];
        for (int j = 0; j < kPoints; ++j) take(x[j], rows + i * row + (M * tile + j) * width + c);
        F::inputs(x, half[i]);
      }
      for (int j = 0; j < kPoints; ++j) {
        Bytes column[kPoints], v[kPoints];
        for (int i = 0; i < kPoints; ++i) column[i] = half[i][j];
        F::inputs(column, v);
        for (int i = 0; i < kPoints; ++i) {
          const int raise = Point<M>::size(i * kPoints + j) - row_sum(F::kB[i]) * row_sum(F::kB[j]);
          put(points + (i * kPoints + j) * point + tile * width + c, v[i] + static_cast<uint8_t>(raise));
        }
      }
    }
  }
}

// Several lanes of a point, as they are added up (unsigned, for they may wrap); `leave` stores sum / kScale^2, which leaves
// no remainder, as int32.
template <int M>
struct Lanes;

template <>
struct Lanes<2> {
  using Sums [[gnu::vector_size(kSome)]] = uint16_t;
  using Signed [[gnu::vector_size(kSome)]] = int16_t;
  using Wide [[gnu::vector_size(2 * kSome)]] = int32_t;
  GXNOR_BODY static void leave(const Sums& sums, int32_t* to) { put(to, __builtin_convertvector((Signed)sums >> 2, Wide)); }
};

template <>
struct Lanes<4> {
  using Sums [[gnu::vector_size(kSome)]] = uint32_t;
  using Signed [[gnu::vector_size(kSome)]] = int32_t;
  static constexpr uint32_t kNinth = 0x38E38E39;  // times 9 it is 1
  GXNOR_BODY static void leave(const Sums& sums, int32_t* to) { put(to, (Sums)((Signed)sums >> 6) * kNinth); }
};

// A^T m A / kScale^2. m: [points][tiles][16 lanes]; the outputs of a tile go to rows slots[tile][M * M] of sums [...][16].
template <int M>
GXNOR_BODY void winograd_leave(const PointSum<M>* m, int tiles, const int32_t* slots, int32_t* sums) {
  using F = Transform<M>;
  using Sums = typename Lanes<M>::Sums;
  constexpr int kPoints = F::kPoints, kCount = kSome / sizeof(PointSum<M>);
  const int64_t point = int64_t{tiles} * kLanes;
  for (int tile = 0; tile < tiles; ++tile, m += kLanes, slots += M * M)
    for (int lane = 0; lane < kLanes; lane += kCount) {
      Sums half[M][kPoints];
      for (int j = 0; j < kPoints; ++j) {
        Sums column[kPoints], y[M];
        for (int i = 0; i < kPoints; ++i) take(column[i], m + (i * kPoints + j) * point + lane);
        F::outputs(column, y);
        for (int i = 0; i < M; ++i) half[i][j] = y[i];
      }
      for (int i = 0; i < M; ++i) {
        Sums y[M];
        F::outputs(half[i], y);
        for (int j = 0; j < M; ++j) Lanes<M>::leave(y[j], sums + int64_t{slots[i * M + j]} * kLanes + lane);
      }
    }
}

}  // namespace gxnor
