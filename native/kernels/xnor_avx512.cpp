// xnor (kernels.h): 16 output channels x up to 4 positions, whose 16 counters of 8 x 64 bits stay in registers. Six
// instructions make 512 products: and, popcount, add for the gates; and-xor in one ternary logic operation, popcount, add
// for the minus signs. With binary weights the gates are counted once per position; with binary activations they are known.
#if defined(__x86_64__)
#include "kernels/xnor_avx512.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,popcnt")

namespace gxnor {
namespace {

constexpr int kAhead = 64;  // a dense layer's weights come from beyond the second cache

inline int64_t word(const uint8_t* address) {
  int64_t word;
  __builtin_memcpy(&word, address, 8);
  return word;
}

template <Xnor kForm, int P>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
  XnorCount counts[P][2];
  const uint8_t* at[P];
  for (int p = 0; p < P; ++p) {
    at[p] = positions[p];
    for (XnorCount& count : counts[p]) count = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  }
  const __m512i* w = static_cast<const __m512i*>(weights) + (kForm == kBinaryActivations);
  int64_t gates[P] = {};
  for (int u = 0; u < window.units; ++u, w += 4) {
    const int64_t z = window.offsets[u], s = z + window.plane;
    const __m512i z_w[2] = {_mm512_load_si512(w), _mm512_load_si512(w + 1)};
    const __m512i s_w[2] = {_mm512_load_si512(w + 2), _mm512_load_si512(w + 3)};
    for (int i = 0; i < 4; ++i) __builtin_prefetch(w + kAhead + i);
    for (int p = 0; p < P; ++p) {
      const int64_t nonzero = word(at[p] + z);
      const __m512i z_a = _mm512_set1_epi64(nonzero), s_a = _mm512_set1_epi64(word(at[p] + s));
      if (kForm == kBinaryWeights) gates[p] += __builtin_popcountll(nonzero & word(reinterpret_cast<const uint8_t*>(w)));
      for (int half = 0; half < 2; ++half) xnor_add<kForm>(counts[p][half], z_w[half], s_w[half], z_a, s_a);
    }
  }
  for (int p = 0; p < P; ++p)
    for (int half = 0; half < 2; ++half) {
      const __m512i wide = _mm512_sub_epi64(counts[p][half].fired, _mm512_slli_epi64(counts[p][half].minus, 1));
      const __m256i known = kForm == kBinaryActivations
                                ? _mm256_load_si256(reinterpret_cast<const __m256i*>(weights) + half)
                                : _mm256_set1_epi32(static_cast<int32_t>(gates[p]));
      const __m256i sum = _mm256_add_epi32(_mm512_cvtepi64_epi32(wide), known);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + p * kLanes + half * 8), sum);
    }
}

}  // namespace

template <Xnor kForm>
void xnor_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 4; count -= 4, positions += 4, sums += 4 * kLanes) tile<kForm, 4>(positions, window, weights, sums);
  if (count == 3) tile<kForm, 3>(positions, window, weights, sums);
  if (count == 2) tile<kForm, 2>(positions, window, weights, sums);
  if (count == 1) tile<kForm, 1>(positions, window, weights, sums);
}
template void xnor_avx512<kTernary>(const uint8_t* const*, int, const Window&, const void*, int32_t*);
template void xnor_avx512<kBinaryWeights>(const uint8_t* const*, int, const Window&, const void*, int32_t*);
template void xnor_avx512<kBinaryActivations>(const uint8_t* const*, int, const Window&, const void*, int32_t*);

}  // namespace gxnor
GXNOR_TARGET_END
#endif
