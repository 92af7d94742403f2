// Four products and their sum are one instruction.
#if defined(__x86_64__)
#include "dot_avx512.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

// Of B blocks: an activation is read, and raised, once for all of them.
template <int B>
struct Dot8 {
  int64_t next;  // sums of the positions of a block

  template <int... p>
  [[gnu::noinline]] void at_once(std::integer_sequence<int, p...>, const uint8_t* const* positions, const Window& window,
                                 const void* weights, int32_t* sums) const {
    const __m512i raise = _mm512_set1_epi8(static_cast<char>(window.raise));
    const uint8_t* const from[] = {positions[p]...};
    const __m512i* w = static_cast<const __m512i*>(weights);
    const int64_t block = 1 + window.units;
    __m512i sum[sizeof...(p)][B];
    const auto begin = [&](__m512i(&to)[B]) {
      for (int b = 0; b < B; ++b) to[b] = w[b * block];
    };
    (begin(sum[p]), ...);
    for (int u = 0; u < window.units; ++u) {
      ++w;
      const int64_t offset = window.offsets[u];
      const auto add = [&](__m512i(&to)[B], const uint8_t* address) {
        int32_t quad;
        __builtin_memcpy(&quad, address, 4);
        const __m512i x = _mm512_add_epi8(_mm512_set1_epi32(quad), raise);
        for (int b = 0; b < B; ++b) to[b] = _mm512_dpbusd_epi32(to[b], x, _mm512_load_si512(w + b * block));
      };
      (add(sum[p], from[p] + offset), ...);
    }
    const auto end = [&](const __m512i(&of)[B], int32_t* to) {
      for (int b = 0; b < B; ++b) _mm512_storeu_si512(to + b * next, of[b]);
    };
    (end(sum[p], sums + p * kLanes), ...);
  }
};

}  // namespace

void dot8_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  const int64_t next = int64_t{count} * kLanes;
  if (window.blocks == 2)
    by_eights(Dot8<2>{next}, positions, count, window, weights, sums);
  else
    by_eights(Dot8<1>{next}, positions, count, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
