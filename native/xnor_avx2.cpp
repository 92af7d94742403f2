// 4 channels x 4 positions, or all 16 x one, at a time. Bits are counted by looking nibbles up; gates count +1 and minus signs -2
// straight into one signed byte each, of which 15 additions of -8..8 stay in range.
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels.h"
#include "target.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

constexpr int kPiece = 15;

inline __m256i broadcast(const uint8_t* address) {
  long long word;
  __builtin_memcpy(&word, address, 8);
  return _mm256_set1_epi64x(word);
}

inline __m256i table(char step) {
  const char s = step, d = static_cast<char>(2 * step), t = static_cast<char>(3 * step), q = static_cast<char>(4 * step);
  return _mm256_setr_epi8(0, s, s, d, s, d, d, t, s, d, d, t, d, t, t, q, 0, s, s, d, s, d, d, t, s, d, d, t, d, t, t, q);
}

// count + 64 products in each of 4 lanes, spread over the lane's 8 bytes.
inline __m256i add(__m256i count, __m256i z_w, __m256i s_w, __m256i z_a, __m256i s_a) {
  const __m256i fired = table(1), minus = table(-2), nibble = _mm256_set1_epi8(15);
  const __m256i gate = _mm256_and_si256(z_w, z_a), against = _mm256_and_si256(gate, _mm256_xor_si256(s_w, s_a));
  const __m256i gates = _mm256_add_epi8(_mm256_shuffle_epi8(fired, _mm256_and_si256(gate, nibble)),
                                        _mm256_shuffle_epi8(fired, _mm256_and_si256(_mm256_srli_epi16(gate, 4), nibble)));
  const __m256i signs = _mm256_add_epi8(_mm256_shuffle_epi8(minus, _mm256_and_si256(against, nibble)),
                                        _mm256_shuffle_epi8(minus, _mm256_and_si256(_mm256_srli_epi16(against, 4), nibble)));
  return _mm256_add_epi8(count, _mm256_add_epi8(gates, signs));
}

// P positions x Q times 4 channels at a time. One position takes all 16 channels in one pass, which reads the weights once
// and in order: they may be far away.
template <int P, int Q>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
  const __m256i bias = _mm256_set1_epi8(-128);
  for (int quarter = 0; quarter < 4; quarter += Q) {
    const __m256i* w = static_cast<const __m256i*>(weights) + quarter;
    __m256i total[P][Q];
    for (int p = 0; p < P; ++p)
      for (int q = 0; q < Q; ++q) total[p][q] = _mm256_setzero_si256();
    for (int begin = 0; begin < window.units; begin += kPiece) {
      const int end = begin + kPiece < window.units ? begin + kPiece : window.units;
      __m256i count[P][Q];
      for (int p = 0; p < P; ++p)
        for (int q = 0; q < Q; ++q) count[p][q] = _mm256_setzero_si256();
      for (int u = begin; u < end; ++u, w += 8) {
        const int64_t z = window.offsets[u], s = z + window.plane;
        for (int p = 0; p < P; ++p) {
          const __m256i z_a = broadcast(positions[p] + z), s_a = broadcast(positions[p] + s);
          for (int q = 0; q < Q; ++q)
            count[p][q] = add(count[p][q], _mm256_load_si256(w + q), _mm256_load_si256(w + 4 + q), z_a, s_a);
        }
      }
      // Sums of unsigned bytes, each 128 too large.
      for (int p = 0; p < P; ++p)
        for (int q = 0; q < Q; ++q)
          total[p][q] = _mm256_add_epi64(
              total[p][q], _mm256_sub_epi64(_mm256_sad_epu8(_mm256_xor_si256(count[p][q], bias), _mm256_setzero_si256()),
                                            _mm256_set1_epi64x(8 * 128)));
    }
    const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    for (int p = 0; p < P; ++p)
      for (int q = 0; q < Q; ++q)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + p * kLanes + 4 * (quarter + q)),
                         _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(total[p][q], even)));
  }
}

}  // namespace

void xnor_avx2(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 4; count -= 4, positions += 4, sums += 4 * kLanes) tile<4, 1>(positions, window, weights, sums);
  if (count >= 2) {
    tile<2, 2>(positions, window, weights, sums);
    count -= 2, positions += 2, sums += 2 * kLanes;
  }
  if (count) tile<1, 4>(positions, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
