// Products of matrices of signed bytes on AMX, whose registers hold up to 16 rows of 64 bytes.
//
// What is loaded where: 0 to 3 sums, of 2 x 2 registers of int32; 4 and 5 the left side, a row 4 bytes of each quad; 6 and 7
// the right side, a row a quad of 16 columns. Each side is read once for two products.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"
#include "common/target.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")

namespace gxnor {

constexpr int kAmxRows = 16, kAmxQuads = 16;  // of one register
constexpr int kAmxTall = 2 * kAmxRows;

// The registers of this thread, for `rows` on the left side, at most kAmxTall, and `quads` at a time, at most kAmxQuads.
class AmxRegisters {
 public:
  void shape(int rows, int quads) {
    if (rows == rows_ && quads == quads_) return;
    rows_ = rows, quads_ = quads;
    Layout layout;
    const int heights[2] = {std::min(rows, kAmxRows), std::max(rows - kAmxRows, 0)};
    const auto set = [&](int number, int height, int bytes) {
      layout.rows[number] = static_cast<uint8_t>(height);
      layout.row_bytes[number] = static_cast<uint16_t>(height ? bytes : 0);
    };
    for (int i = 0; i < 2; ++i) {
      set(2 * i, heights[i], 64);
      set(2 * i + 1, heights[i], 64);
      set(4 + i, heights[i], 4 * quads);
      set(6 + i, quads, 64);
    }
    asm volatile("" ::"m"(layout));  // compilers take ldtilecfg to read less than it does
    _tile_loadconfig(&layout);
  }
  ~AmxRegisters() { _tile_release(); }

 private:
  struct alignas(64) Layout {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
  };
  int rows_ = 0, quads_ = 0;
};

// sums [rows][16] of one or two blocks of 16 columns = left [rows][steps][quads][4] times right [steps][quads][16][4], or
// added to what they hold. All distances are in bytes.
struct AmxProduct {
  const void* left;
  int64_t left_row, left_step;
  const void* right;
  int64_t right_block, right_step;
  int steps;
  int32_t* sums;
  int64_t sums_row, sums_block;
  bool add;
};

template <bool kSecond, bool kWide>
void amx_product(const AmxProduct& of) {
  const auto left = static_cast<const uint8_t*>(of.left), right = static_cast<const uint8_t*>(of.right);
  const auto sums = reinterpret_cast<uint8_t*>(of.sums);
  const int64_t below = kAmxRows * of.left_row, below_sums = kAmxRows * of.sums_row;
  asm volatile("" ::: "memory");  // compilers do not know what tileloadd reads
  if (of.add) {
    _tile_loadd(0, sums, of.sums_row);
    if (kWide) _tile_loadd(1, sums + of.sums_block, of.sums_row);
    if (kSecond) _tile_loadd(2, sums + below_sums, of.sums_row);
    if (kSecond && kWide) _tile_loadd(3, sums + below_sums + of.sums_block, of.sums_row);
  } else {
    _tile_zero(0);
    if (kWide) _tile_zero(1);
    if (kSecond) _tile_zero(2);
    if (kSecond && kWide) _tile_zero(3);
  }
  for (int i = 0; i < of.steps; ++i) {
    const uint8_t *l = left + i * of.left_step, *r = right + i * of.right_step;
    _tile_loadd(4, l, of.left_row);
    _tile_loadd(6, r, 64);
    _tile_dpbssd(0, 4, 6);
    if (kWide) {
      _tile_loadd(7, r + of.right_block, 64);
      _tile_dpbssd(1, 4, 7);
    }
    if (kSecond) {
      _tile_loadd(5, l + below, of.left_row);
      _tile_dpbssd(2, 5, 6);
      if (kWide) _tile_dpbssd(3, 5, 7);
    }
  }
  _tile_stored(0, sums, of.sums_row);
  if (kWide) _tile_stored(1, sums + of.sums_block, of.sums_row);
  if (kSecond) _tile_stored(2, sums + below_sums, of.sums_row);
  if (kSecond && kWide) _tile_stored(3, sums + below_sums + of.sums_block, of.sums_row);
}

using AmxKernel = void (*)(const AmxProduct&);

// For as many rows as the registers are shaped for, and one or two blocks.
inline AmxKernel amx_kernel(int rows, int blocks) {
  if (rows > kAmxRows) return blocks == 2 ? amx_product<true, true> : amx_product<true, false>;
  return blocks == 2 ? amx_product<false, true> : amx_product<false, false>;
}

}  // namespace gxnor
GXNOR_TARGET_END
