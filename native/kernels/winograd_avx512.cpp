// The products of points (kernels.h): up to 32 output channels x up to 12 tiles, in 24 registers of sums. vpdpbusd
// multiplies and adds a quad of channels at a time.
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

// Written out for each p, by a fold, so that the compiler keeps the sums in registers.
template <int M, int B, int... p>
[[gnu::noinline]] void tiles_at_once(std::integer_sequence<int, p...>, const uint8_t* v, int quads, const int8_t* u,
                                     const int32_t* offsets, int32_t* m) {
  __m512i sum[sizeof...(p)][B];
  const auto begin = [&](__m512i(&to)[B]) {
    for (int b = 0; b < B; ++b) to[b] = _mm512_load_si512(offsets + b * Point<M>::kCount * kLanes);
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
  const auto end = [&](const __m512i(&from)[B], int32_t* to) {
    for (int b = 0; b < B; ++b) _mm512_storeu_si512(to + b * kLanes, from[b]);
  };
  (end(sum[p], m + p * kBlocksAvx512 * kLanes), ...);
}

struct Plain {
  template <int M, int B, int P>
  static void tile(const uint8_t* v, int quads, const int8_t* u, const int32_t* offsets, const int32_t*, int32_t* m, int) {
    tiles_at_once<M, B>(std::make_integer_sequence<int, P>(), v, quads, u, offsets, m);
  }
};

}  // namespace

const WinogradKernels winograd2_avx512 = {
    spread_avx512, avx512<winograd_filter_transform_raised<2, 64>>,
    avx512<winograd_input_transform<2, 64>>, winograd_products<Plain, 2>,
    avx512<winograd_output_transform<2, 64, kUsualGroup, kBlocksAvx512>>, nullptr,
    kBlocksAvx512, kUsualGroup, kFarStrip};
const WinogradKernels winograd4_avx512 = {
    spread_avx512, avx512<winograd_filter_transform_raised<4, 64>>,
    avx512<winograd_input_transform<4, 64>>, winograd_products<Plain, 4>,
    avx512<winograd_output_transform<4, 64, kUsualGroup, kBlocksAvx512>>, winograd_pack<kUsualGroup, kBlocksAvx512>,
    kBlocksAvx512, kUsualGroup, kFarStrip};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
