// dot16 (kernels.h): 16 output channels x up to 8 positions; a unit is 2 channels of int16. vpdpwssd multiplies a pair and
// adds it to the sum in one instruction.
#if defined(__x86_64__)
#include "kernels/dot_avx512.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {
namespace {

struct Dot16 {
  static constexpr int kStep = kLanes;

  template <int... p>
  [[gnu::noinline]] void at_once(std::integer_sequence<int, p...>, const uint8_t* const* positions, const Window& window,
                                 const void* weights, int32_t* sums) const {
    const uint8_t* const from[] = {positions[p]...};
    const __m256i* w = static_cast<const __m256i*>(weights);
    __m512i sum[] = {(static_cast<void>(p), _mm512_setzero_si512())...};
    for (int u = 0; u < window.units; ++u) {
      const __m512i pair_w = _mm512_cvtepi8_epi16(_mm256_load_si256(w + u));
      const int64_t offset = window.offsets[u];
      const auto add = [&](__m512i& to, const uint8_t* address) {
        int32_t pair;
        __builtin_memcpy(&pair, address, 4);
        to = _mm512_dpwssd_epi32(to, _mm512_set1_epi32(pair), pair_w);
      };
      (add(sum[p], from[p] + offset), ...);
    }
    (_mm512_storeu_si512(sums + p * kLanes, sum[p]), ...);
  }
};

}  // namespace

void dot16_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  by_eights(Dot16(), positions, count, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
