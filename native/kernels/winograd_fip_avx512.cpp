// The products of points (kernels.h) by fast inner products, with fewer multiplications (S. Winograd, A new algorithm for
// inner product, IEEE Transactions on Computers C-17, 1968): 16 output channels x up to 16 tiles. For two quads of channels
// of a tile, v1 and v2, and their weights u1 and u2
//
//   v1 . u1 + v2 . u2 = (v1 + u2) . (v2 + u1) - v1 . v2 - u1 . u2
//
// where v1 . v2 is the same for all output channels, and u1 . u2 for all tiles. Two additions of bytes replace a
// multiplication, which pays where both run in parallel: AMD's cores add in four units and multiply in two of them. Of every
// eight quads, three pairs by this formula and two quads directly keep all four busy.
//
// At no point is v + u larger than 127 (`fits` in winograd.cpp), so v1 + u2, with a zero point of 128, and v2 + u1 are
// bytes.
#if defined(__x86_64__)
#include <immintrin.h>

#include <utility>

#include "kernels/kernels.h"
#include "common/target.h"
#include "kernels/winograd_avx512.h"
#include "kernels/winograd_body.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

inline __m512i four_channels(const uint8_t* address) {
  int32_t quad;
  __builtin_memcpy(&quad, address, 4);
  return _mm512_set1_epi32(quad);
}

// 16 or 32 output channels x up to 12 tiles. Written out for each p, by a fold, so that the compiler keeps the sums in
// registers: 24, and eight for two quads of weights, of a tile and of their sums.
template <int M, int B, int... p>
[[gnu::noinline]] void tiles_at_once(std::integer_sequence<int, p...>, const uint8_t* v, int quads, const int8_t* u,
                                     const int32_t* offsets, const int32_t* own, int32_t* m) {
  __m512i sum[sizeof...(p)][B];
  const auto begin = [&](__m512i(&to)[B], int32_t of_tile) {
    for (int b = 0; b < B; ++b)
      to[b] = _mm512_sub_epi32(_mm512_load_si512(offsets + b * Point<M>::kCount * kLanes), _mm512_set1_epi32(of_tile));
  };
  (begin(sum[p], own[p]), ...);
  const int64_t tile = int64_t{4} * quads, block = int64_t{64} * quads;
  const auto pair = [&](const uint8_t* from, const int8_t* weights) __attribute__((always_inline)) {
    __m512i u1[B], u2[B];
    for (int b = 0; b < B; ++b) u1[b] = _mm512_load_si512(weights + b * block);
    for (int b = 0; b < B; ++b) u2[b] = _mm512_load_si512(weights + b * block + 64);
    const auto add = [&](__m512i(&to)[B], const uint8_t* address) {
      const __m512i v1 = four_channels(address), v2 = four_channels(address + 4);
      for (int b = 0; b < B; ++b)
        to[b] = _mm512_dpbusd_epi32(to[b], _mm512_add_epi8(v1, u2[b]), _mm512_add_epi8(v2, u1[b]));
    };
    (add(sum[p], from + p * tile), ...);
  };
  const auto single = [&](const uint8_t* from, const int8_t* weights) __attribute__((always_inline)) {
    __m512i u1[B];
    for (int b = 0; b < B; ++b) u1[b] = _mm512_load_si512(weights + b * block);
    const auto add = [&](__m512i(&to)[B], const uint8_t* address) {
      const __m512i v1 = four_channels(address);
      for (int b = 0; b < B; ++b) to[b] = _mm512_dpbusd_epi32(to[b], v1, u1[b]);
    };
    (add(sum[p], from + p * tile), ...);
  };
  static_assert(kFipQuads == 8 && kFipPaired == 6);
  for (int q = 0; q < quads; q += kFipQuads, v += 4 * kFipQuads, u += 64 * kFipQuads) {
    pair(v, u);
    single(v + 4 * 6, u + 64 * 6);
    pair(v + 4 * 2, u + 64 * 2);
    pair(v + 4 * 4, u + 64 * 4);
    single(v + 4 * 7, u + 64 * 7);
  }
  const auto end = [&](const __m512i(&from)[B], int32_t* to) {
    for (int b = 0; b < B; ++b) _mm512_storeu_si512(to + b * kLanes, from[b]);
  };
  (end(sum[p], m + p * kBlocksAvx512 * kLanes), ...);
}

struct Fast {
  template <int M, int B, int P>
  static void tile(const uint8_t* v, int quads, const int8_t* u, const int32_t* offsets, const int32_t* own, int32_t* m,
                   int) {
    tiles_at_once<M, B>(std::make_integer_sequence<int, P>(), v, quads, u, offsets, own, m);
  }
};

// v1 . v2, v1 raised, of the pairs of a tile: in eight of 16 lanes, the other ones 0.
inline __m512i own_of_tile(const uint8_t* v, int64_t width) {
  constexpr __mmask8 kPairs = 0x11 * ((1 << kFipPaired / 2) - 1);  // of the pairs of quads in 64 bytes
  __m512i sum = _mm512_setzero_si512();
  for (int64_t c = 0; c < width; c += 64) {
    const __m512i x = _mm512_maskz_loadu_epi32(c + 64 <= width ? 0xFFFF : 0x00FF, v + c);
    sum = _mm512_dpbusd_epi32(sum, x, _mm512_maskz_srli_epi64(kPairs, x, 32));
  }
  return sum;
}

template <int M>
void own(const uint8_t* v, int64_t v_point, int tiles, int quads, int32_t* own, int64_t own_point) {
  const int64_t width = int64_t{4} * quads;
  for (int p = 0; p < Point<M>::kCount; ++p, v += v_point, own += own_point)
    for (int tile = 0; tile < tiles; tile += 4) {
      const int some = tiles - tile < 4 ? tiles - tile : 4;
      __m512i sum[4];
      for (int i = 0; i < 4; ++i) sum[i] = i < some ? own_of_tile(v + (tile + i) * width, width) : _mm512_setzero_si512();
      for (int i = 0; i < 4; i += 2) sum[i] = _mm512_or_si512(sum[i], _mm512_slli_epi64(sum[i + 1], 32));
      const __m512i four = _mm512_add_epi32(_mm512_unpacklo_epi64(sum[0], sum[2]), _mm512_unpackhi_epi64(sum[0], sum[2]));
      const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(four), _mm512_extracti64x4_epi64(four, 1));
      const __m128i whole = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
      __builtin_memcpy(own + tile, &whole, some * sizeof *own);
    }
}

// Eight quads at a time, for the offsets while they are in the first cache: -u1 . u2, u2 raised, of the pairs, and what the
// others' tiles are raised by.
template <int M>
void filter_transform(const PackedWeights& weights, int, int8_t* u, int64_t point, int32_t* offsets) {
  const __m512i raise = _mm512_set1_epi8(-128);
  PackedWeights some = weights;
  some.quads = kFipQuads;
  for (int q = 0; q < weights.quads; q += some.quads, some.levels += 9 * kPacked * some.bits, u += 64 * some.quads) {
    avx512<winograd_filter_transform<M, 64>, const PackedWeights&>(some, u, point);
    for (int p = 0; p < Point<M>::kCount; ++p) {
      const auto quad = [&](int i) { return _mm512_load_si512(u + p * point + 64 * i); };
      __m512i sum = q ? _mm512_load_si512(offsets + p * kLanes) : _mm512_setzero_si512();
      for (int i = 0; i < kFipPaired; i += 2) sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(quad(i + 1), raise), quad(i));
      for (int i = kFipPaired; i < kFipQuads; ++i) sum = _mm512_dpbusd_epi32(sum, raise, quad(i));
      _mm512_store_si512(offsets + p * kLanes, sum);
    }
  }
  for (int p = 0; p < Point<M>::kCount; ++p) {
    int32_t* to = offsets + p * kLanes;
    _mm512_store_si512(to, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_load_si512(to)));
  }
}

}  // namespace

const WinogradKernels winograd2_fip_avx512 = {
    spread_avx512, filter_transform<2>,
    avx512<winograd_input_transform<2, 64, Raise::fip>>, winograd_products<Fast, 2>,
    avx512<winograd_output_transform<2, 64, kUsualGroup, kBlocksAvx512>>, nullptr,
    kBlocksAvx512, kUsualGroup, kFarStrip, own<2>};
const WinogradKernels winograd4_fip_avx512 = {
    spread_avx512, filter_transform<4>,
    avx512<winograd_input_transform<4, 64, Raise::fip>>, winograd_products<Fast, 4>,
    avx512<winograd_output_transform<4, 64, kUsualGroup, kBlocksAvx512>>, winograd_pack<kUsualGroup, kBlocksAvx512>,
    kBlocksAvx512, kUsualGroup, kFarStrip, own<4>};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
