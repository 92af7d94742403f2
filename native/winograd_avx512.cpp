// 16 output channels x up to 12 tiles, one register of 32-bit sums each.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"
#include "target.h"
#include "winograd_body.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

inline __m512i start(const int16_t* offsets) {
  return _mm512_cvtepi16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(offsets)));
}
inline __m512i start(const int32_t* offsets) { return _mm512_load_si512(offsets); }

inline void finish(__m512i sum, int16_t* m) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(m), _mm512_cvtepi32_epi16(sum));
}
inline void finish(__m512i sum, int32_t* m) { _mm512_storeu_si512(m, sum); }

template <int M, int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const PointSum<M>* offsets, PointSum<M>* m, int) {
  __m512i sum[P];
  for (int p = 0; p < P; ++p) sum[p] = start(offsets);
  for (int q = 0; q < quads; ++q) {
    const __m512i w = _mm512_load_si512(u + int64_t{64} * q);
    for (int p = 0; p < P; ++p) {
      int32_t quad;
      __builtin_memcpy(&quad, v + 4 * (int64_t{p} * quads + q), 4);
      sum[p] = _mm512_dpbusd_epi32(sum[p], _mm512_set1_epi32(quad), w);
    }
  }
  for (int p = 0; p < P; ++p) finish(sum[p], m + p * kLanes);
}

template <int M>
void product(const uint8_t* v, int tiles, int quads, const int8_t* u, const PointSum<M>* offsets, PointSum<M>* m,
             int piece) {
  static constexpr TileProduct<M> kProducts[] = {{12, tile<M, 12>}, {4, tile<M, 4>}, {1, tile<M, 1>}};
  cut(kProducts, v, tiles, quads, u, offsets, m, piece);
}

}  // namespace

const WinogradKernels<2> winograd2_avx512 = {avx512<winograd_expand<2>>, avx512<winograd_enter<2>>, product<2>,
                                             avx512<winograd_leave<2>>};
const WinogradKernels<4> winograd4_avx512 = {avx512<winograd_expand<4>>, avx512<winograd_enter<4>>, product<4>,
                                             avx512<winograd_leave<4>>};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
