// AMX in plain C++, as far as the kernels use it: the instructions' definitions, for registers shaped as they are.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

struct EmulatedTiles {
  uint8_t layout[64];
  uint8_t bytes[8][16][64];

  int rows(int tile) const { return layout[48 + tile]; }
  int row_bytes(int tile) const { return layout[16 + 2 * tile] | layout[17 + 2 * tile] << 8; }
  void check(bool right) const {
    if (!right) std::abort();  // where the machine would fault
  }
  void used(int tile) const { check(layout[0] == 1 && rows(tile) > 0 && row_bytes(tile) > 0); }

  void load(int tile, const void* from, int64_t stride) {
    zero(tile);
    for (int row = 0; row < rows(tile); ++row)
      std::memcpy(bytes[tile][row], static_cast<const uint8_t*>(from) + row * stride, row_bytes(tile));
  }
  void store(int tile, void* to, int64_t stride) const {
    used(tile);
    for (int row = 0; row < rows(tile); ++row)
      std::memcpy(static_cast<uint8_t*>(to) + row * stride, bytes[tile][row], row_bytes(tile));
  }
  void zero(int tile) {
    used(tile);
    std::memset(bytes[tile], 0, sizeof bytes[tile]);
  }
  void multiply(int sums, int left, int right) {
    used(sums), used(left), used(right);
    check(rows(sums) == rows(left) && row_bytes(sums) == row_bytes(right) && row_bytes(left) == 4 * rows(right));
    for (int row = 0; row < rows(left); ++row)
      for (int column = 0; column < row_bytes(right) / 4; ++column) {
        int32_t sum;
        std::memcpy(&sum, &bytes[sums][row][4 * column], 4);
        for (int i = 0; i < row_bytes(left); ++i)
          sum += static_cast<int8_t>(bytes[left][row][i]) * static_cast<int8_t>(bytes[right][i / 4][4 * column + i % 4]);
        std::memcpy(&bytes[sums][row][4 * column], &sum, 4);
      }
  }
};

inline thread_local EmulatedTiles emulated_tiles = {};

inline void emulated_loadconfig(const void* layout) { std::memcpy(emulated_tiles.layout, layout, 64); }
inline void emulated_release() { emulated_tiles = {}; }

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_loadconfig emulated_loadconfig
#define _tile_release emulated_release
#define _tile_zero(tile) emulated_tiles.zero(tile)
#define _tile_loadd(tile, from, stride) emulated_tiles.load(tile, from, stride)
#define _tile_stored(tile, to, stride) emulated_tiles.store(tile, to, stride)
#define _tile_dpbssd(sums, left, right) emulated_tiles.multiply(sums, left, right)
