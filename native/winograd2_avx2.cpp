// F(2x2, 3x3): 16 output channels x up to 6 tiles, two registers of 16-bit sums each, of pairs of products; they do not
// overflow, see Winograd::suits.
#if defined(__x86_64__)
#include <immintrin.h>

#include <utility>

#include "kernels.h"
#include "target.h"
#include "winograd_body.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

// Written out for each p, by a fold, so that the compiler keeps the sums in registers.
template <int... p>
[[gnu::noinline]] void tiles_at_once(std::integer_sequence<int, p...>, const uint8_t* v, int quads, const int8_t* u,
                                     const int16_t* offsets, int16_t* m) {
  __m256i sum[sizeof...(p)][2] = {};
  const __m256i* w = reinterpret_cast<const __m256i*>(u);
  for (int q = 0; q < quads; ++q, w += 2) {
    const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
    const auto add = [&](__m256i(&to)[2], const uint8_t* address) {
      int32_t quad;
      __builtin_memcpy(&quad, address, 4);
      const __m256i x = _mm256_set1_epi32(quad);
      to[0] = _mm256_add_epi16(to[0], _mm256_maddubs_epi16(x, w0));
      to[1] = _mm256_add_epi16(to[1], _mm256_maddubs_epi16(x, w1));
      asm volatile("" : "+x"(to[0]), "+x"(to[1]));  // one tile after the other: all at once spill
    };
    (add(sum[p], v + 4 * (int64_t{p} * quads + q)), ...);
  }
  const __m128i* half = reinterpret_cast<const __m128i*>(offsets);
  const __m256i one = _mm256_set1_epi16(1), start[2] = {_mm256_cvtepi16_epi32(_mm_load_si128(half)),
                                                        _mm256_cvtepi16_epi32(_mm_load_si128(half + 1))};
  const auto store = [&](const __m256i(&from)[2], int16_t* to) {
    const __m256i low = _mm256_add_epi32(_mm256_madd_epi16(from[0], one), start[0]);
    const __m256i high = _mm256_add_epi32(_mm256_madd_epi16(from[1], one), start[1]);
    const __m256i lanes = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), lanes);
  };
  (store(sum[p], m + p * kLanes), ...);
}

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int16_t* offsets, int16_t* m, int) {
  tiles_at_once(std::make_integer_sequence<int, P>(), v, quads, u, offsets, m);
}

void product(const uint8_t* v, int tiles, int quads, const int8_t* u, const int16_t* offsets, int16_t* m, int) {
  static constexpr TileProduct<2> kProducts[] = {{6, tile<6>}, {4, tile<4>}, {2, tile<2>}, {1, tile<1>}};
  cut(kProducts, v, tiles, quads, u, offsets, m, 0);
}

}  // namespace

const WinogradKernels<2> winograd2_avx2 = {avx2<winograd_expand<2>>, avx2<winograd_enter<2>>, product,
                                           avx2<winograd_leave<2>>};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
