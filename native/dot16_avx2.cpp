// 16 channels x up to 4 positions of int32 sums in registers.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"
#include "target.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

template <int P>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
  __m256i sum[P][2];
  for (int p = 0; p < P; ++p) sum[p][0] = sum[p][1] = _mm256_setzero_si256();
  const __m128i* w = static_cast<const __m128i*>(weights);
  for (int u = 0; u < window.units; ++u, w += 2) {
    const __m256i pair_w[2] = {_mm256_cvtepi8_epi16(_mm_load_si128(w)), _mm256_cvtepi8_epi16(_mm_load_si128(w + 1))};
    for (int p = 0; p < P; ++p) {
      int32_t pair;
      __builtin_memcpy(&pair, positions[p] + window.offsets[u], 4);
      const __m256i x = _mm256_set1_epi32(pair);
      for (int half = 0; half < 2; ++half)
        sum[p][half] = _mm256_add_epi32(sum[p][half], _mm256_madd_epi16(x, pair_w[half]));
    }
  }
  for (int p = 0; p < P; ++p)
    for (int half = 0; half < 2; ++half)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + p * kLanes + half * 8), sum[p][half]);
}

}  // namespace

void dot16_avx2(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 4; count -= 4, positions += 4, sums += 4 * kLanes) tile<4>(positions, window, weights, sums);
  for (; count; --count, ++positions, sums += kLanes) tile<1>(positions, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
