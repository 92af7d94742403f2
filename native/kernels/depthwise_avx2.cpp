// Depthwise products of bytes (depthwise.h), in 16 bits: four positions at a time share the weights.
#if defined(__x86_64__)
#include "kernels/depthwise.h"
#include "kernels/dot_avx2.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

inline const __m128i* sixteen(const uint8_t* bytes) { return reinterpret_cast<const __m128i*>(bytes); }

inline void write(__m256i total, int32_t* sums) {
  __m256i* const to = reinterpret_cast<__m256i*>(sums);
  _mm256_storeu_si256(to, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(total)));
  _mm256_storeu_si256(to + 1, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(total, 1)));
}

template <int... p>
inline void at_once(Positions<p...>, const uint8_t* const* positions, const int64_t* offsets, int taps,
                    const int16_t* weights, int32_t* sums) {
  __m256i total[sizeof...(p)] = {};
  const uint8_t* const from[] = {positions[p]...};
  for (int tap = 0; tap < taps; ++tap) {
    const __m256i weight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + tap * kLanes));
    const auto add = [&](__m256i& to, const uint8_t* at) {
      const __m256i values = _mm256_cvtepi8_epi16(_mm_loadu_si128(sixteen(at + offsets[tap])));
      to = _mm256_add_epi16(to, _mm256_mullo_epi16(values, weight));
    };
    (add(total[p], from[p]), ...);
  }
  (write(total[p], sums + p * kLanes), ...);
}

}  // namespace

void depthwise_avx2(const uint8_t* const* positions, int count, const int64_t* offsets, int taps, const int16_t* weights,
                    int32_t* sums) {
  for (; count >= 4; count -= 4, positions += 4, sums += 4 * kLanes)
    at_once(Positions<0, 1, 2, 3>(), positions, offsets, taps, weights, sums);
  for (; count; --count, ++positions, sums += kLanes) at_once(Positions<0>(), positions, offsets, taps, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
