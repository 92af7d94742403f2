// 16 output channels x up to 12 tiles, one register of 32-bit sums each.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"
#include "target.h"
#include "winograd_body.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int16_t* offsets, int16_t* m) {
  __m512i sum[P];
  const __m512i start = _mm512_cvtepi16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(offsets)));
  for (int p = 0; p < P; ++p) sum[p] = start;
  for (int q = 0; q < quads; ++q) {
    const __m512i w = _mm512_load_si512(u + int64_t{64} * q);
    for (int p = 0; p < P; ++p) {
      int32_t quad;
      __builtin_memcpy(&quad, v + 4 * (int64_t{p} * quads + q), 4);
      sum[p] = _mm512_dpbusd_epi32(sum[p], _mm512_set1_epi32(quad), w);
    }
  }
  for (int p = 0; p < P; ++p)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(m + p * kLanes), _mm512_cvtepi32_epi16(sum[p]));
}

void product(const uint8_t* v, int tiles, int quads, const int8_t* u, const int16_t* offsets, int16_t* m) {
  static constexpr TileProduct kProducts[] = {{12, tile<12>}, {4, tile<4>}, {1, tile<1>}};
  cut(kProducts, v, tiles, quads, u, offsets, m);
}

}  // namespace

const WinogradKernels winograd_avx512 = {avx512<winograd_expand>, avx512<winograd_enter>, product, avx512<winograd_leave>};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
