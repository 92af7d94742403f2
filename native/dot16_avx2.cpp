// 16 channels x up to 4 positions of int32 sums in registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include <utility>

#include "kernels.h"
#include "target.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

// Written out for each p, by a fold, so that the compiler keeps the sums in registers.
template <int... p>
void at_once(std::integer_sequence<int, p...>, const uint8_t* const* positions, const Window& window, const void* weights,
             int32_t* sums) {
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
  const auto store = [&](const __m256i(&of)[2], int32_t* to) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), of[0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), of[1]);
  };
  (store(sum[p], sums + p * kLanes), ...);
}

template <int P>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
  at_once(std::make_integer_sequence<int, P>(), positions, window, weights, sums);
}

}  // namespace

void dot16_avx2(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 4; count -= 4, positions += 4, sums += 4 * kLanes) tile<4>(positions, window, weights, sums);
  for (; count; --count, ++positions, sums += kLanes) tile<1>(positions, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
