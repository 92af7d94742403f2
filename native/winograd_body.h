// What the instruction sets share of Winograd's F(2x2, 3x3) (winograd.h): the steps around the products, compiled for each of
// them, and the cutting of many tiles into as many as a product takes.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels.h"
#include "vectorise.h"

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
struct TileProduct {
  int tiles;
  void (*run)(const uint8_t* v, int quads, const int8_t* u, const int16_t* offsets, int16_t* m);
};

// `products`: of the most tiles first, of one tile last.
template <int kSizes>
void cut(const TileProduct (&products)[kSizes], const uint8_t* v, int tiles, int quads, const int8_t* u,
         const int16_t* offsets, int16_t* m) {
  for (const TileProduct& product : products)
    for (; tiles >= product.tiles; tiles -= product.tiles) {
      product.run(v, quads, u, offsets, m);
      v += int64_t{4} * quads * product.tiles;
      m += kLanes * product.tiles;
    }
}

// U = G w G^T of 16 output channels. packed: [9 taps][quads * 16] bytes; each 32 bytes hold 128 levels + 1 in U's order, the
// first 32 in the low two bits. u: [16 points][quads][16 lanes][4], `point` bytes from one to the next. `quads` is a
// multiple of 8.
GXNOR_BODY void winograd_expand(const uint8_t* packed, int quads, int8_t* u, int64_t point) {
  constexpr uint8_t kOnes[4] = {2, 3, 1, 2};  // G of levels 1: what the points of levels + 1 are too large
  const int64_t tap = int64_t{quads} * kLanes;
  for (int64_t i = 0; i < tap; i += kSome) {
    for (int field = 0; field < 4; ++field) {
      Bytes half[3][4];
      for (int row = 0; row < 3; ++row) {
        Bytes w[3];
        for (int j = 0; j < 3; ++j) {
          Words words;  // bytes have no shift of their own
          take(words, packed + (3 * row + j) * tap + i);
          words >>= 2 * field;
          w[j] = (Bytes)words & 3;  // the same bits
        }
        half[row][0] = w[0] + w[0];
        half[row][1] = w[0] + w[1] + w[2];
        half[row][2] = w[0] - w[1] + w[2];
        half[row][3] = w[2] + w[2];
      }
      for (int j = 0; j < 4; ++j) {
        const Bytes &x = half[0][j], &y = half[1][j], &z = half[2][j];
        int8_t* to = u + j * point + 4 * i + field * kSome;
        put(to, x + x - static_cast<uint8_t>(kOnes[0] * kOnes[j]));
        put(to + 4 * point, x + y + z - static_cast<uint8_t>(kOnes[1] * kOnes[j]));
        put(to + 8 * point, x - y + z - static_cast<uint8_t>(kOnes[2] * kOnes[j]));
        put(to + 12 * point, z + z - static_cast<uint8_t>(kOnes[3] * kOnes[j]));
      }
    }
  }
}

// B^T x B + 4 of neighbouring tiles. rows: levels + 1 of four rows of pixels, `row` bytes apart, of `width` channels, a
// multiple of 32; tiles are two pixels apart. points: [16][...][width], `point` bytes from one to the next.
GXNOR_BODY void winograd_enter(const uint8_t* rows, int64_t row, int64_t width, int tiles, uint8_t* points, int64_t point) {
  for (int tile = 0; tile < tiles; ++tile) {
    for (int64_t c = 0; c < width; c += kSome) {
      Bytes half[4][4];  // x B, of levels + 1: the second column is 2 too large
      for (int i = 0; i < 4; ++i) {
        Bytes x[4];
        for (int j = 0; j < 4; ++j) take(x[j], rows + i * row + (2 * tile + j) * width + c);
        half[i][0] = x[0] - x[2];
        half[i][1] = x[1] + x[2];
        half[i][2] = x[2] - x[1];
        half[i][3] = x[1] - x[3];
      }
      for (int j = 0; j < 4; ++j) {
        const uint8_t middle = j == 1 ? 0 : 4;  // its four levels are 4 too large as they are
        uint8_t* v = points + j * point + tile * width + c;
        put(v, half[0][j] - half[2][j] + 4);
        put(v + 4 * point, half[1][j] + half[2][j] + middle);
        put(v + 8 * point, half[2][j] - half[1][j] + 4);
        put(v + 12 * point, half[1][j] - half[3][j] + 4);
      }
    }
  }
}

// A^T m A / 4. m: [16 points][tiles][16 lanes]; the outputs of a tile go to rows slots[tile][4] of sums [...][16].
GXNOR_BODY void winograd_leave(const int16_t* m, int tiles, const int32_t* slots, int32_t* sums) {
  const int64_t point = int64_t{tiles} * kLanes;
  for (int tile = 0; tile < tiles; ++tile, m += kLanes, slots += 4) {
    uint16_t half[2][4][kLanes];  // unsigned: what overflows in between is right again in the end
    for (int j = 0; j < 4; ++j) {
      const int16_t* a = m + j * point;
      for (int k = 0; k < kLanes; ++k) {
        const int b = a[k + 4 * point], c = a[k + 8 * point];
        half[0][j][k] = static_cast<uint16_t>(a[k] + b + c);
        half[1][j][k] = static_cast<uint16_t>(b - c - a[k + 12 * point]);
      }
    }
    for (int i = 0; i < 2; ++i) {
      int32_t *left = sums + int64_t{slots[2 * i]} * kLanes, *right = sums + int64_t{slots[2 * i + 1]} * kLanes;
      for (int k = 0; k < kLanes; ++k) {
        const int b = half[i][1][k], c = half[i][2][k];
        left[k] = static_cast<int16_t>(half[i][0][k] + b + c) >> 2;
      }
      for (int k = 0; k < kLanes; ++k) {
        const int b = half[i][1][k], c = half[i][2][k];
        right[k] = static_cast<int16_t>(b - c - half[i][3][k]) >> 2;
      }
    }
  }
}

}  // namespace gxnor
