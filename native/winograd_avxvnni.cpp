// As winograd_avx2.cpp, with four products and their sum of 32 bits in one instruction.
#if defined(__x86_64__) && __has_include(<avxvnniintrin.h>)  // GCC 11, Clang 12
#include <immintrin.h>

#include <utility>

#include "kernels.h"
#include "target.h"
#include "winograd_body.h"

GXNOR_TARGET("avx2,avxvnni")

namespace gxnor {
namespace {

// Written out for each p, by a fold, so that the compiler keeps the sums in registers.
template <int... p>
[[gnu::noinline]] void tiles_at_once(std::integer_sequence<int, p...>, const uint8_t* v, int quads, const int8_t* u,
                                     const int16_t* offsets, int16_t* m) {
  const __m128i* half = reinterpret_cast<const __m128i*>(offsets);
  const __m256i start[2] = {_mm256_cvtepi16_epi32(_mm_load_si128(half)), _mm256_cvtepi16_epi32(_mm_load_si128(half + 1))};
  __m256i sum[sizeof...(p)][2] = {{(static_cast<void>(p), start[0]), start[1]}...};
  const __m256i* w = reinterpret_cast<const __m256i*>(u);
  for (int q = 0; q < quads; ++q, w += 2) {
    const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
    const auto add = [&](__m256i(&to)[2], const uint8_t* address) {
      int32_t quad;
      __builtin_memcpy(&quad, address, 4);
      const __m256i x = _mm256_set1_epi32(quad);
      to[0] = _mm256_dpbusd_avx_epi32(to[0], x, w0);
      to[1] = _mm256_dpbusd_avx_epi32(to[1], x, w1);
    };
    (add(sum[p], v + 4 * (int64_t{p} * quads + q)), ...);
  }
  const auto store = [&](const __m256i(&from)[2], int16_t* to) {
    const __m256i lanes = _mm256_permute4x64_epi64(_mm256_packs_epi32(from[0], from[1]), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), lanes);
  };
  (store(sum[p], m + p * kLanes), ...);
}

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int16_t* offsets, int16_t* m) {
  tiles_at_once(std::make_integer_sequence<int, P>(), v, quads, u, offsets, m);
}

void product(const uint8_t* v, int tiles, int quads, const int8_t* u, const int16_t* offsets, int16_t* m) {
  static constexpr TileProduct kProducts[] = {{6, tile<6>}, {4, tile<4>}, {2, tile<2>}, {1, tile<1>}};
  cut(kProducts, v, tiles, quads, u, offsets, m);
}

}  // namespace

const WinogradKernels winograd_avxvnni = {avx2<winograd_expand>, avx2<winograd_enter>, product, avx2<winograd_leave>};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
