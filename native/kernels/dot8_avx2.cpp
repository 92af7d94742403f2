// dot8 (kernels.h): 16 output channels x up to 4 positions; a unit is 4 channels of int8. vpmaddubsw multiplies unsigned
// with signed bytes, so activations have `zero_point` added as they are read.
//
// It adds pairs of products in 16 bits, which are widened after as many units as fit. An activation with the zero point is
// at most 2 zero_point, so a pair is at most 4 zero_point times the largest weight: neither a pair nor the sum of a piece
// saturates (Convolution chooses the piece).
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
