// 16 or 32 output channels x up to 12 tiles: 12 or 24 registers of 32-bit sums. With two registers of weights a quad of the
// windows is read, and its address found, once for two products.
#if defined(__x86_64__)
#include <immintrin.h>

#include <utility>

#include "kernels.h"
#include "target.h"
#include "winograd_body.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

constexpr int kBlocks = 2;

inline __m512i start(const int16_t* offsets) {
  return _mm512_cvtepi16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(offsets)));
}
inline __m512i start(const int32_t* offsets) { return _mm512_load_si512(offsets); }

inline void finish(__m512i sum, int16_t* m) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(m), _mm512_cvtepi32_epi16(sum));
}
inline void finish(__m512i sum, int32_t* m) { _mm512_storeu_si512(m, sum); }

inline __m512i levels_of(uint64_t nonzero, uint64_t minus) {
  const __m512i one = _mm512_set1_epi8(1), two = _mm512_set1_epi8(2);
  return _mm512_maskz_mov_epi8(~minus, _mm512_mask_mov_epi8(one, nonzero, two));
}

void spread(const uint8_t* nonzero, const uint8_t* minus, int64_t bytes, int64_t pixels, uint8_t* levels, int64_t width) {
  for (int64_t p = 0; p < pixels; ++p, nonzero += bytes, minus += bytes, levels += width)
    for (int64_t c = 0; c < width; c += 64) {
      uint64_t z = 0, s = 0;
      if (c / 8 + 8 <= bytes) {
        __builtin_memcpy(&z, nonzero + c / 8, 8);
        __builtin_memcpy(&s, minus + c / 8, 8);
      } else {
        __builtin_memcpy(&z, nonzero + c / 8, bytes - c / 8);
        __builtin_memcpy(&s, minus + c / 8, bytes - c / 8);
      }
      const __m512i some = levels_of(z, s);
      if (c + 64 <= width)
        _mm512_storeu_si512(levels + c, some);
      else
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(levels + c), _mm512_castsi512_si256(some));
    }
}

// Written out for each p, by a fold, so that the compiler keeps the sums in registers.
template <int M, int B, int... p>
[[gnu::noinline]] void tiles_at_once(std::integer_sequence<int, p...>, const uint8_t* v, int quads, const int8_t* u,
                                     const PointSum<M>* offsets, PointSum<M>* m) {
  __m512i sum[sizeof...(p)][B];
  const auto begin = [&](__m512i(&to)[B]) {
    for (int b = 0; b < B; ++b) to[b] = start(offsets + b * Point<M>::kCount * kLanes);
  };
  (begin(sum[p]), ...);
  const int64_t tile = int64_t{4} * quads, block = int64_t{64} * quads;
  for (int q = 0; q < quads; ++q, v += 4, u += 64) {
    __m512i w[B];
    for (int b = 0; b < B; ++b) w[b] = _mm512_load_si512(u + b * block);
    const auto add = [&](__m512i(&to)[B], const uint8_t* address) {
      int32_t quad;
      __builtin_memcpy(&quad, address, 4);
      const __m512i x = _mm512_set1_epi32(quad);
      for (int b = 0; b < B; ++b) to[b] = _mm512_dpbusd_epi32(to[b], x, w[b]);
    };
    (add(sum[p], v + p * tile), ...);
  }
  const auto end = [&](const __m512i(&from)[B], PointSum<M>* to) {
    for (int b = 0; b < B; ++b) finish(from[b], to + b * kLanes);
  };
  (end(sum[p], m + p * kBlocks * kLanes), ...);
}

template <int M, int B, int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const PointSum<M>* offsets, PointSum<M>* m, int) {
  tiles_at_once<M, B>(std::make_integer_sequence<int, P>(), v, quads, u, offsets, m);
}

template <int M, int B>
void products_of(const PointProducts<M>& of) {
  static constexpr TileProduct<M> kKernels[] = {
      {12, tile<M, B, 12>}, {11, tile<M, B, 11>}, {10, tile<M, B, 10>}, {9, tile<M, B, 9>}, {8, tile<M, B, 8>},
      {6, tile<M, B, 6>},   {4, tile<M, B, 4>},   {2, tile<M, B, 2>},   {1, tile<M, B, 1>}};
  cut<M, kBlocks>(kKernels, of);
}

template <int M>
void products(const PointProducts<M>& of) {
  (of.blocks == 2 ? products_of<M, 2> : products_of<M, 1>)(of);
}

// Thresholds are as many times too large as the outputs are, so that nothing is divided.
template <bool kPooled>
void pack_tiles(const int32_t* m, int tiles, const int32_t thresholds[2][kLanes], uint16_t flip, uint8_t* const* outputs,
                int64_t at, int64_t plane) {
  constexpr int kSize = 4;
  constexpr const auto& kScale = Transform<kSize>::kScale;
  __m512i low[kSize][kSize], high[kSize][kSize];
  for (int i = 0; i < kSize; ++i)
    for (int j = 0; j < kSize; ++j) {
      const __m512i scale = _mm512_set1_epi32(kScale[i] * kScale[j]);
      low[i][j] = _mm512_mullo_epi32(_mm512_loadu_si512(thresholds[0]), scale);
      high[i][j] = _mm512_mullo_epi32(_mm512_loadu_si512(thresholds[1]), scale);
    }
  for (int tile = 0; tile < tiles; ++tile, m += kBlocks * kLanes) {
    Lanes<kSize, 64>::Sums y[kSize][kSize];
    winograd_outputs<kSize, 64, kBlocks>(m, y);
    const auto leave = [&](__mmask16 below, __mmask16 above) {
      const uint16_t nonzero = below | above, minus = static_cast<uint16_t>(below ^ (flip & nonzero));
      uint8_t* const to = *outputs++ + at;
      __builtin_memcpy(to, &nonzero, 2);
      __builtin_memcpy(to + plane, &minus, 2);
    };
    for (int cell = 0; cell < kSize; ++cell) {
      __mmask16 below[4], above[4];
      for (int position = 0; position < 4; ++position) {
        const int i = cell / 2 * 2 + position / 2, j = cell % 2 * 2 + position % 2;
        const __m512i sum = reinterpret_cast<__m512i>(y[i][j]);
        below[position] = _mm512_cmplt_epi32_mask(sum, low[i][j]);
        above[position] = _mm512_cmpge_epi32_mask(sum, high[i][j]);
        if (!kPooled) leave(below[position], above[position]);
      }
      if (kPooled) leave(below[0] & below[1] & below[2] & below[3], above[0] | above[1] | above[2] | above[3]);
    }
  }
}

void pack(const int32_t* m, int tiles, const int32_t thresholds[2][kLanes], uint16_t flip, bool pooled,
          uint8_t* const* outputs, int64_t at, int64_t plane) {
  (pooled ? pack_tiles<true> : pack_tiles<false>)(m, tiles, thresholds, flip, outputs, at, plane);
}

}  // namespace

const WinogradKernels<2> winograd2_avx512 = {
    spread, avx512<winograd_expand<2, 64>>,
    avx512<winograd_enter<2, 64>>, products<2>, avx512<winograd_leave<2, 32, kBlocks>>, nullptr, kBlocks, kFarStrip};
const WinogradKernels<4> winograd4_avx512 = {
    spread, avx512<winograd_expand<4, 64>>,
    avx512<winograd_enter<4, 64>>, products<4>, avx512<winograd_leave<4, 64, kBlocks>>, pack, kBlocks, kFarStrip};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
