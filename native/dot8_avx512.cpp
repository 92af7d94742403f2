// 16 channels x up to 8 positions of int32 sums in registers; four products and their sum are one instruction.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"
#include "target.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

template <int P>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
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

}  // namespace

void dot8_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 8; count -= 8, positions += 8, sums += 8 * kLanes) tile<8>(positions, window, weights, sums);
  for (; count >= 2; count -= 2, positions += 2, sums += 2 * kLanes) tile<2>(positions, window, weights, sums);
  if (count) tile<1>(positions, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
