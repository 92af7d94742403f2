// A pair of products and their sum is one instruction.
#if defined(__x86_64__)
#include "dot_avx512.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

struct Dot16 {
  template <int P>
  static void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
    __m512i sum[P];
    for (int p = 0; p < P; ++p) sum[p] = _mm512_setzero_si512();
    const __m256i* w = static_cast<const __m256i*>(weights);
    for (int u = 0; u < window.units; ++u) {
      const __m512i pair_w = _mm512_cvtepi8_epi16(_mm256_load_si256(w + u));
      for (int p = 0; p < P; ++p) {
        int32_t pair;
        __builtin_memcpy(&pair, positions[p] + window.offsets[u], 4);
        sum[p] = _mm512_dpwssd_epi32(sum[p], _mm512_set1_epi32(pair), pair_w);
      }
    }
    for (int p = 0; p < P; ++p) _mm512_storeu_si512(sums + p * kLanes, sum[p]);
  }
};

}  // namespace

void dot16_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  by_eights<Dot16>(positions, count, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
