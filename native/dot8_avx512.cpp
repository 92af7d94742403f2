// Four products and their sum are one instruction.
#if defined(__x86_64__)
#include "dot_avx512.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

struct Dot8 {
  template <int... p>
  [[gnu::noinline]] void at_once(std::integer_sequence<int, p...>, const uint8_t* const* positions, const Window& window,
                                 const void* weights, int32_t* sums) const {
    const __m512i raise = _mm512_set1_epi8(static_cast<char>(window.raise));
    const uint8_t* const from[] = {positions[p]...};
    const __m512i* w = static_cast<const __m512i*>(weights);
    __m512i sum[sizeof...(p)] = {(static_cast<void>(p), w[0])...};
    for (int u = 0; u < window.units; ++u) {
      const __m512i quad_w = _mm512_load_si512(w + 1 + u);
      const int64_t offset = window.offsets[u];
      const auto add = [&](__m512i& to, const uint8_t* address) {
        int32_t quad;
        __builtin_memcpy(&quad, address, 4);
        to = _mm512_dpbusd_epi32(to, _mm512_add_epi8(_mm512_set1_epi32(quad), raise), quad_w);
      };
      (add(sum[p], from[p] + offset), ...);
    }
    (_mm512_storeu_si512(sums + p * kLanes, sum[p]), ...);
  }
};

}  // namespace

void dot8_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  by_eights(Dot8(), positions, count, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
