// F(4x4, 3x3): 16 output channels x up to 6 tiles, two registers of 16-bit sums each, of pairs of products, that are widened
// and added to the sums in memory after as many quads as fit.
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
                                     const int32_t* offsets, int32_t* m, int piece) {
  const __m256i* w = reinterpret_cast<const __m256i*>(u);
  for (int begin = 0; begin < quads; begin += piece) {
    const int end = quads - begin < piece ? quads : begin + piece;
    __m256i sum[sizeof...(p)][2] = {};
    for (int q = begin; q < end; ++q, w += 2) {
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
    const __m256i one = _mm256_set1_epi16(1);
    const auto widen = [&](const __m256i(&from)[2], int32_t* at) {
      __m256i* to = reinterpret_cast<__m256i*>(at);
      const __m256i* before = begin ? to : reinterpret_cast<const __m256i*>(offsets);
      _mm256_store_si256(to, _mm256_add_epi32(_mm256_load_si256(before), _mm256_madd_epi16(from[0], one)));
      _mm256_store_si256(to + 1, _mm256_add_epi32(_mm256_load_si256(before + 1), _mm256_madd_epi16(from[1], one)));
    };
    (widen(sum[p], m + p * kLanes), ...);
  }
}

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int32_t* offsets, int32_t* m, int piece) {
  tiles_at_once(std::make_integer_sequence<int, P>(), v, quads, u, offsets, m, piece);
}

void product(const uint8_t* v, int tiles, int quads, const int8_t* u, const int32_t* offsets, int32_t* m, int piece) {
  static constexpr TileProduct<4> kProducts[] = {{6, tile<6>}, {4, tile<4>}, {2, tile<2>}, {1, tile<1>}};
  cut(kProducts, v, tiles, quads, u, offsets, m, piece);
}

}  // namespace

const WinogradKernels<4> winograd4_avx2 = {avx2<winograd_expand<4>>, avx2<winograd_enter<4>>, product,
                                           avx2<winograd_leave<4>>};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
