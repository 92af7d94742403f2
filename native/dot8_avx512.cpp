// Four products and their sum are one instruction.
#if defined(__x86_64__)
#include "dot_avx512.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

struct Dot8 {
  template <int P>
  static void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
    const __m512i* w = static_cast<const __m512i*>(weights);
    const __m512i raise = _mm512_set1_epi8(kRaise);
    __m512i sum[P];
    for (int p = 0; p < P; ++p) sum[p] = w[0];
    for (int u = 0; u < window.units; ++u) {
      const __m512i quad_w = _mm512_load_si512(w + 1 + u);
      for (int p = 0; p < P; ++p) {
        int32_t quad;
        __builtin_memcpy(&quad, positions[p] + window.offsets[u], 4);
        sum[p] = _mm512_dpbusd_epi32(sum[p], _mm512_add_epi8(_mm512_set1_epi32(quad), raise), quad_w);
      }
    }
    for (int p = 0; p < P; ++p) _mm512_storeu_si512(sums + p * kLanes, sum[p]);
  }
};

}  // namespace

void dot8_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  by_eights<Dot8>(positions, count, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
