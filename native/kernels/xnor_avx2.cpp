// xnor (kernels.h): 16 output channels x 1 position, in one pass over the weights, which may come from memory. Bits are
// counted by looking up nibbles. Gates count +1 and minus signs -2 in one signed byte, and 15 additions of -8..8 stay in its
// range.
//
// With binary weights the gates are the same in all channels, with binary activations in all positions: they are counted
// once, and per channel only the minus signs are counted, as -1.
#if defined(__x86_64__)
#include "kernels/xnor_avx2.h"

GXNOR_TARGET("avx2,popcnt")

namespace gxnor {
namespace {

constexpr int kPiece = 15, kQuarters = kLanes / 4;

inline uint64_t word(const uint8_t* address) {
  uint64_t word;
  __builtin_memcpy(&word, address, 8);
  return word;
}

template <Xnor kForm>
void product(const uint8_t* position, const Window& window, const void* weights, int32_t* sums) {
  const int32_t* const nonzeros = static_cast<const int32_t*>(weights);
  const __m256i* w = static_cast<const __m256i*>(weights);
  if (kForm == kBinaryActivations) w += kLanes * sizeof(int32_t) / sizeof *w;
  __m256i total[kQuarters];
  for (int q = 0; q < kQuarters; ++q) total[q] = _mm256_setzero_si256();
  int64_t gates = 0;
  for (int begin = 0; begin < window.units; begin += kPiece) {
    const int end = begin + kPiece < window.units ? begin + kPiece : window.units;
    __m256i count[kQuarters];
    for (int q = 0; q < kQuarters; ++q) count[q] = _mm256_setzero_si256();
    for (int u = begin; u < end; ++u, w += 2 * kQuarters) {
      const uint64_t z = word(position + window.offsets[u]), s = word(position + window.offsets[u] + window.plane);
      if (kForm == kBinaryWeights) gates += __builtin_popcountll(z & word(reinterpret_cast<const uint8_t*>(w)));
      const __m256i z_a = _mm256_set1_epi64x(static_cast<int64_t>(z)), s_a = _mm256_set1_epi64x(static_cast<int64_t>(s));
      for (int q = 0; q < kQuarters; ++q)
        count[q] = xnor_add<kForm>(count[q], _mm256_load_si256(w + q), _mm256_load_si256(w + kQuarters + q), z_a, s_a);
    }
    // Sums of unsigned bytes, each 128 too large.
    const __m256i bias = _mm256_set1_epi8(-128), biases = _mm256_set1_epi64x(8 * 128);
    for (int q = 0; q < kQuarters; ++q) {
      const __m256i bytes = _mm256_sad_epu8(_mm256_xor_si256(count[q], bias), _mm256_setzero_si256());
      total[q] = _mm256_add_epi64(total[q], _mm256_sub_epi64(bytes, biases));
    }
  }
  const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
  for (int q = 0; q < kQuarters; ++q) {
    __m128i sum = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(total[q], even));
    const __m128i fired = kForm == kBinaryActivations
                              ? _mm_load_si128(reinterpret_cast<const __m128i*>(nonzeros) + q)
                              : _mm_set1_epi32(static_cast<int32_t>(gates));
    if (kForm != kTernary) sum = _mm_add_epi32(fired, _mm_slli_epi32(sum, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(sums + 4 * q), sum);
  }
}

}  // namespace

template <Xnor kForm>
void xnor_avx2(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (int p = 0; p < count; ++p, sums += kLanes) product<kForm>(positions[p], window, weights, sums);
}
template void xnor_avx2<kTernary>(const uint8_t* const*, int, const Window&, const void*, int32_t*);
template void xnor_avx2<kBinaryWeights>(const uint8_t* const*, int, const Window&, const void*, int32_t*);
template void xnor_avx2<kBinaryActivations>(const uint8_t* const*, int, const Window&, const void*, int32_t*);

}  // namespace gxnor
GXNOR_TARGET_END
#endif
