// The products of points (kernels.h): 16 output channels x up to 6 tiles. vpmaddubsw adds pairs of products in 16 bits; each
// tile has two registers of such sums, which are widened after as many quads as fit and added to the sums in memory.
#if defined(__x86_64__)
#include <immintrin.h>

#include <utility>

#include "kernels/kernels.h"
#include "common/target.h"
#include "kernels/winograd_body.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

// `from` is where the sums stand so far: `to`, or what to begin with.
inline void widen(const __m256i (&sum)[2], const int32_t* from, int32_t* to) {
  const __m256i one = _mm256_set1_epi16(1), *before = reinterpret_cast<const __m256i*>(from);
  __m256i* after = reinterpret_cast<__m256i*>(to);
  _mm256_store_si256(after, _mm256_add_epi32(_mm256_load_si256(before), _mm256_madd_epi16(sum[0], one)));
  _mm256_store_si256(after + 1, _mm256_add_epi32(_mm256_load_si256(before + 1), _mm256_madd_epi16(sum[1], one)));
}

// Written out for each p, by a fold, so that the compiler keeps the sums in registers.
template <int... p>
[[gnu::noinline]] void tiles_at_once(std::integer_sequence<int, p...>, const uint8_t* v, int quads, const int8_t* u,
                                     const int32_t* offsets, int32_t* m, int piece) {
  const __m256i* w = reinterpret_cast<const __m256i*>(u);
  for (int begin = 0; begin < quads; begin += piece) {
    const int end = quads - begin < piece ? quads : begin + piece;
    __m256i sum[sizeof...(p)][2] = {};
    for (int q = begin; q < end; ++q, w += 2) {
      const __m256i w0 = _mm256_load_si256(w), w1 = _mm256_load_si256(w + 1);
      const auto add = [&](__m256i(&to)[2], const uint8_t* address) {
        int32_t quad;
        __builtin_memcpy(&quad, address, 4);
        const __m256i x = _mm256_set1_epi32(quad);
        to[0] = _mm256_add_epi16(to[0], _mm256_maddubs_epi16(x, w0));
        to[1] = _mm256_add_epi16(to[1], _mm256_maddubs_epi16(x, w1));
        asm volatile("" : "+x"(to[0]), "+x"(to[1]));  // one tile after the other: all at once spill
      };
      (add(sum[p], v + 4 * (int64_t{p} * quads + q)), ...);
    }
    (widen(sum[p], begin ? m + p * kLanes : offsets, m + p * kLanes), ...);
  }
}

template <int P>
void tile(const uint8_t* v, int quads, const int8_t* u, const int32_t* offsets, const int32_t*, int32_t* m, int piece) {
  tiles_at_once(std::make_integer_sequence<int, P>(), v, quads, u, offsets, m, piece);
}

template <int M>
void products(const PointProducts& of) {
  static constexpr TileProduct kKernels[] = {{6, tile<6>}, {5, tile<5>}, {4, tile<4>},
                                             {3, tile<3>}, {2, tile<2>}, {1, tile<1>}};
  cut<M, kUsualGroup, 1>(kKernels, of);
}

}  // namespace

const WinogradKernels winograd2_avx2 = avx2_around<2>(products<2>);
const WinogradKernels winograd4_avx2 = avx2_around<4>(products<4>);

}  // namespace gxnor
GXNOR_TARGET_END
#endif
