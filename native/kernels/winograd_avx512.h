// What AVX-512 and AMX share of Winograd (winograd_body.h): bits to levels, sums to bits in registers, and the tiles of
// AVX-512's two products.
#pragma once

#include <immintrin.h>

#include "kernels/kernels.h"
#include "common/target.h"
#include "kernels/winograd_body.h"
#include "kernels/write_bits.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl")

namespace gxnor {

// Levels + 1 of 64 channels; of bytes that are not there, ones.
inline __m512i levels_of(const uint8_t* nonzero, const uint8_t* minus, int64_t bytes) {
  uint64_t z = 0, s = 0;
  __builtin_memcpy(&z, nonzero, bytes);
  __builtin_memcpy(&s, minus, bytes);
  const __m512i one = _mm512_set1_epi8(1), two = _mm512_set1_epi8(2);
  return _mm512_maskz_mov_epi8(~s, _mm512_mask_mov_epi8(one, z, two));
}

inline void spread_avx512(const uint8_t* nonzero, const uint8_t* minus, int64_t bytes, int64_t pixels, uint8_t* levels,
                          int64_t width) {
  const int64_t whole = bytes / 8, rest = bytes % 8;
  for (int64_t p = 0; p < pixels; ++p, nonzero += bytes, minus += bytes, levels += width) {
    for (int64_t i = 0; i < whole; ++i)
      _mm512_storeu_si512(levels + 64 * i, levels_of(nonzero + 8 * i, minus + 8 * i, 8));
    if (64 * whole == width) continue;
    const __m512i some = levels_of(nonzero + 8 * whole, minus + 8 * whole, rest);
    if (64 * whole + 64 == width)
      _mm512_storeu_si512(levels + 64 * whole, some);
    else
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels + 64 * whole), _mm512_castsi512_si256(some));
  }
}

// Thresholds are as many times too large as the outputs are, so that nothing is divided. In a cell that is pooled all
// outputs are made as large as the largest ones, of position 0, so that their maximum meets the thresholds.
template <bool kPooled, int kGroup, int kBlocks>
void pack_tiles(const int32_t* m, int tiles, const Packing& packing, uint8_t* const* outputs) {
  constexpr int kSize = 4, kStep = kPooled ? 2 : 1;
  constexpr const auto& kScale = Transform<kSize>::kScale;
  __m512i low[kSize][kSize], high[kSize][kSize];
  for (int i = 0; i < kSize; i += kStep)
    for (int j = 0; j < kSize; j += kStep) {
      const __m512i scale = _mm512_set1_epi32(kScale[i] * kScale[j]);
      low[i][j] = _mm512_mullo_epi32(_mm512_loadu_si512(packing.thresholds), scale);
      high[i][j] = _mm512_mullo_epi32(_mm512_loadu_si512(packing.thresholds + kLanes), scale);
    }
  const uint16_t flip = static_cast<uint16_t>(packing.flips);
  const int64_t at = packing.at, plane = packing.plane;
  for (int tile = 0; tile < tiles; ++tile, m += kBlocks * kLanes) {
    Sums<64> y[kSize][kSize];
    winograd_outputs<kSize, 64, kGroup, kBlocks>(m, y);
    const auto emit = [&](const __m512i& sum, int i, int j) {
      const __mmask16 below = _mm512_cmplt_epi32_mask(sum, low[i][j]), above = _mm512_cmpge_epi32_mask(sum, high[i][j]);
      write_bits<uint16_t>(below, above, flip, *outputs++ + at, plane);
    };
    for (int cell = 0; cell < kSize; ++cell) {
      const int i = cell / 2 * 2, j = cell % 2 * 2;
      const auto sum = [&](int position) { return reinterpret_cast<__m512i>(y[i + position / 2][j + position % 2]); };
      if (kPooled) {
        const auto as_large = [&](int position) {
          const int times = kScale[i] * kScale[j] / (kScale[i + position / 2] * kScale[j + position % 2]);
          return _mm512_slli_epi32(sum(position), times / 2);  // 1, 2 or 4 times
        };
        emit(_mm512_max_epi32(_mm512_max_epi32(sum(0), as_large(1)), _mm512_max_epi32(as_large(2), as_large(3))), i, j);
      } else {
        for (int position = 0; position < 4; ++position) emit(sum(position), i + position / 2, j + position % 2);
      }
    }
  }
}

// The products of all points, by Product::tile<M, B, P> of B blocks of output channels and P tiles: 24 registers of sums.
// With two of weights a quad of the windows is read, and its address found, once for two products.
constexpr int kBlocksAvx512 = 2;

template <typename Product, int M, int B>
void products_of_blocks(const PointProducts& of) {
  static constexpr TileProduct kKernels[] = {
      {12, Product::template tile<M, B, 12>}, {11, Product::template tile<M, B, 11>}, {10, Product::template tile<M, B, 10>},
      {9, Product::template tile<M, B, 9>},   {8, Product::template tile<M, B, 8>},   {6, Product::template tile<M, B, 6>},
      {4, Product::template tile<M, B, 4>},   {2, Product::template tile<M, B, 2>},   {1, Product::template tile<M, B, 1>}};
  cut<M, kUsualGroup, kBlocksAvx512>(kKernels, of);
}

template <typename Product, int M>
void winograd_products(const PointProducts& of) {
  (of.blocks == 2 ? products_of_blocks<Product, M, 2> : products_of_blocks<Product, M, 1>)(of);
}

template <int kGroup, int kBlocks>
void winograd_pack(const int32_t* m, int tiles, const Packing& packing, bool pooled, uint8_t* const* outputs) {
  const auto kernel = pooled ? pack_tiles<true, kGroup, kBlocks> : pack_tiles<false, kGroup, kBlocks>;
  kernel(m, tiles, packing, outputs);
}

}  // namespace gxnor
GXNOR_TARGET_END
