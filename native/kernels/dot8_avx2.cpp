// Pairs of products are added up in 16 bits and widened after as many units as fit. A raised activation is at most twice
// `zero_point`, so a pair of products at most four times that and the largest weight: no pair saturates, nor does the sum of a
// piece (Convolution).
#if defined(__x86_64__)
#include "kernels/dot_avx2.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

struct Dot8 {
  // Not inlined: among the caller's values the compiler (GCC 12) finds no registers for all sums.
  template <int... p>
  [[gnu::noinline]] void at_once(Positions<p...> all, const uint8_t* const* positions, const Window& window,
                                 const void* weights, int32_t* sums) const {
    const __m256i one = _mm256_set1_epi16(1), zero_point = _mm256_set1_epi8(static_cast<char>(window.zero_point));
    const uint8_t* const from[] = {positions[p]...};
    const __m256i* w = static_cast<const __m256i*>(weights);
    __m256i total[sizeof...(p)][2] = {{(static_cast<void>(p), w[0]), w[1]}...};
    w += 2;
    for (int begin = 0; begin < window.units; begin += window.piece) {
      const int end = window.units - begin < window.piece ? window.units : begin + window.piece;
      __m256i sum[sizeof...(p)][2] = {};
      for (int u = begin; u < end; ++u, w += 2) {
        const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
        const auto add = [&](__m256i(&to)[2], const uint8_t* address) {
          int32_t quad;
          __builtin_memcpy(&quad, address, 4);
          const __m256i x = _mm256_add_epi8(_mm256_set1_epi32(quad), zero_point);
          to[0] = _mm256_add_epi16(to[0], _mm256_maddubs_epi16(x, w0));
          to[1] = _mm256_add_epi16(to[1], _mm256_maddubs_epi16(x, w1));
          asm volatile("" : "+x"(to[0]), "+x"(to[1]));  // one position after the other: all at once spill
        };
        (add(sum[p], from[p] + window.offsets[u]), ...);
      }
      const auto widen = [&](__m256i(&to)[2], const __m256i(&of)[2]) {
        to[0] = _mm256_add_epi32(to[0], _mm256_madd_epi16(of[0], one));
        to[1] = _mm256_add_epi32(to[1], _mm256_madd_epi16(of[1], one));
      };
      (widen(total[p], sum[p]), ...);
    }
    store(total, sums, all);
  }
};

}  // namespace

void dot8_avx2(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  by_fours(Dot8(), positions, count, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
