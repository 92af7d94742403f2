// Requantization of 8 channels at a time: the products of even and of odd lanes in 64 bits, shifted, put together again.
// Compilers find no signed product of 32 by 32 bits in a plain loop of so many lanes.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/requantize.h"
#include "common/target.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

inline __m256i loaded(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

}  // namespace

void requantize_avx2(int32_t* sums, int count, int lanes, const int32_t* multiplier, const uint64_t* offset, int shift,
                     uint32_t raise) {
  const __m128i by = _mm_cvtsi32_si128(shift);
  const __m256i raised = _mm256_set1_epi32(static_cast<int32_t>(raise));
  for (int half = 0; half < lanes && half < kLanes; half += 8) {
    const __m256i even = loaded(multiplier + half), odd = _mm256_srli_epi64(even, 32);
    const __m256i low = loaded(offset + half), high = loaded(offset + half + 4);
    const __m256i add_even = _mm256_permute4x64_epi64(_mm256_unpacklo_epi64(low, high), 0xD8);
    const __m256i add_odd = _mm256_permute4x64_epi64(_mm256_unpackhi_epi64(low, high), 0xD8);
    for (int p = 0; p < count; ++p) {
      __m256i* const at = reinterpret_cast<__m256i*>(sums + p * kLanes + half);
      const __m256i sum = _mm256_loadu_si256(at);
      const __m256i a = _mm256_srl_epi64(_mm256_add_epi64(_mm256_mul_epi32(sum, even), add_even), by);
      const __m256i b =
          _mm256_srl_epi64(_mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(sum, 32), odd), add_odd), by);
      const __m256i both = _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xAA);
      _mm256_storeu_si256(at, _mm256_sub_epi32(both, raised));
    }
  }
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
