// dot16 (kernels.h): 16 output channels x up to 4 positions; a unit is 2 channels of int16. vpmaddwd multiplies both
// channels and adds the pair into 32 bits, so nothing can overflow that the plan allows.
#if defined(__x86_64__)
#include "kernels/dot_avx2.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

struct Dot16 {
  template <int... p>
  void at_once(Positions<p...> all, const uint8_t* const* positions, const Window& window, const void* weights,
               int32_t* sums) const {
    __m256i sum[sizeof...(p)][2] = {};
    const uint8_t* const from[] = {positions[p]...};
    const __m128i* w = static_cast<const __m128i*>(weights);
    for (int u = 0; u < window.units; ++u, w += 2) {
      const __m256i w0 = _mm256_cvtepi8_epi16(_mm_load_si128(w)), w1 = _mm256_cvtepi8_epi16(_mm_load_si128(w + 1));
      const auto add = [&](__m256i(&to)[2], const uint8_t* address) {
        int32_t pair;
        __builtin_memcpy(&pair, address, 4);
        const __m256i x = _mm256_set1_epi32(pair);
        to[0] = _mm256_add_epi32(to[0], _mm256_madd_epi16(x, w0));
        to[1] = _mm256_add_epi32(to[1], _mm256_madd_epi16(x, w1));
      };
      (add(sum[p], from[p] + window.offsets[u]), ...);
    }
    store(sum, sums, all);
  }
};

}  // namespace

void dot16_avx2(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  by_fours(Dot16(), positions, count, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
