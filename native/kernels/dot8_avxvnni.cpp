// dot8 (kernels.h) as in dot8_avx2.cpp, but with vpdpbusd, which adds four products into 32 bits, so nothing is widened.
#if defined(__x86_64__) && __has_include(<avxvnniintrin.h>)  // GCC 11, Clang 12
#include "kernels/dot_avx2.h"

GXNOR_TARGET("avx2,avxvnni")

namespace gxnor {
namespace {

struct Dot8 {
  template <int... p>
  [[gnu::noinline]] void at_once(Positions<p...> all, const uint8_t* const* positions, const Window& window,
                                 const void* weights, int32_t* sums) const {
    const __m256i zero_point = _mm256_set1_epi8(static_cast<char>(window.zero_point));
    const uint8_t* const from[] = {positions[p]...};
    const __m256i* w = static_cast<const __m256i*>(weights);
    __m256i sum[sizeof...(p)][2] = {{(static_cast<void>(p), w[0]), w[1]}...};
    w += 2;
    for (int u = 0; u < window.units; ++u, w += 2) {
      const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
      const auto add = [&](__m256i(&to)[2], const uint8_t* address) {
        int32_t quad;
        __builtin_memcpy(&quad, address, 4);
        const __m256i x = _mm256_add_epi8(_mm256_set1_epi32(quad), zero_point);
        to[0] = _mm256_dpbusd_avx_epi32(to[0], x, w0);
        to[1] = _mm256_dpbusd_avx_epi32(to[1], x, w1);
      };
      (add(sum[p], from[p] + window.offsets[u]), ...);
    }
    store(sum, sums, all);
  }
};

}  // namespace

void dot8_avxvnni(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  by_fours(Dot8(), positions, count, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
