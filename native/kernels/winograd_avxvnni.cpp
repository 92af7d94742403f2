// The products of points (kernels.h) as in winograd_avx2.cpp, but with vpdpbusd, which adds four products into 32 bits, so
// nothing is widened.
#if defined(__x86_64__) && __has_include(<avxvnniintrin.h>)  // GCC 11, Clang 12
#include <immintrin.h>

#include <utility>

#include "kernels/kernels.h"
#include "common/target.h"
#include "kernels/winograd_body.h"

GXNOR_TARGET("avx2,avxvnni")

namespace gxnor {
namespace {

inline void start(const int32_t* offsets, __m256i (&sum)[2]) {
  const __m256i* half = reinterpret_cast<const __m256i*>(offsets);
  sum[0] = _mm256_load_si256(half), sum[1] = _mm256_load_si256(half + 1);
}

inline void store_sums(const __m256i (&sum)[2], int32_t* m) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(m), sum[0]);
  _mm256_store_si256(reinterpret_cast<__m256i*>(m) + 1, sum[1]);
}

// Written out for each p, by a fold, so that the compiler keeps the sums in registers.
template <int... p>
[[gnu::noinline]] void tiles_at_once(std::integer_sequence<int, p...>, const uint8_t* v, int quads, const int8_t* u,
                                     const int32_t* offsets, int32_t* m) {
  __m256i sum[sizeof...(p)][2];
  (start(offsets, sum[p]), ...);
  const __m256i* w = reinterpret_cast<const __m256i*>(u);
  for (int q = 0; q < quads; ++q, w += 2) {
    const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
    const auto add = [&](__m256i(&to)[2], const uint8_t* address) {
      int32_t quad;
      __builtin_memcpy(&quad, address, 4);
      const __m256i x = _mm256_set1_epi32(quad);
      to[0] = _mm256_dpbusd_avx_epi32(to[0], x, w0);
      to[1] = _mm256_dpbusd_avx_epi32(to[1], x, w1);
    };
    (add(sum[p], v + 4 * (int64_t{p} * quads + q)), ...);
  }
  (store_sums(sum[p], m + p * kLanes), ...);
}

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int32_t* offsets, const int32_t*, int32_t* m, int) {
  tiles_at_once(std::make_integer_sequence<int, P>(), v, quads, u, offsets, m);
}

template <int M>
void products(const PointProducts& of) {
  static constexpr TileProduct kKernels[] = {{6, tile<6>}, {5, tile<5>}, {4, tile<4>},
                                             {3, tile<3>}, {2, tile<2>}, {1, tile<1>}};
  cut<M, kUsualGroup, 1>(kKernels, of);
}

}  // namespace

const WinogradKernels winograd2_avxvnni = avx2_around<2>(products<2>);
const WinogradKernels winograd4_avxvnni = avx2_around<4>(products<4>);

}  // namespace gxnor
GXNOR_TARGET_END
#endif
