// 16 channels x up to 4 positions: 16 counters of 8 x 64 bits stay in registers. Six instructions make 512 products:
// and, popcount, add for the gates; and-xor in one ternary logic operation, popcount, add for the minus signs.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "kernels.h"
#include "target.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")

namespace gxnor {
namespace {

constexpr int kAndXor = 0x60;  // a & (b ^ c)

inline __m512i broadcast(const uint8_t* address) {
  int64_t word;
  __builtin_memcpy(&word, address, 8);
  return _mm512_set1_epi64(word);
}

template <int P>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
  __m512i fired[P][2], minus[P][2];
  const uint8_t* at[P];
  for (int p = 0; p < P; ++p) {
    at[p] = positions[p];
    for (int half = 0; half < 2; ++half) fired[p][half] = minus[p][half] = _mm512_setzero_si512();
  }
  const __m512i* w = static_cast<const __m512i*>(weights);
  for (int u = 0; u < window.units; ++u, w += 4) {
    const int64_t z = window.offsets[u], s = z + window.plane;
    const __m512i z_w[2] = {_mm512_load_si512(w), _mm512_load_si512(w + 1)};
    const __m512i s_w[2] = {_mm512_load_si512(w + 2), _mm512_load_si512(w + 3)};
    for (int p = 0; p < P; ++p) {
      const __m512i z_a = broadcast(at[p] + z), s_a = broadcast(at[p] + s);
      for (int half = 0; half < 2; ++half) {
        const __m512i gate = _mm512_and_si512(z_w[half], z_a);
        const __m512i against = _mm512_ternarylogic_epi64(gate, s_w[half], s_a, kAndXor);
        fired[p][half] = _mm512_add_epi64(fired[p][half], _mm512_popcnt_epi64(gate));
        minus[p][half] = _mm512_add_epi64(minus[p][half], _mm512_popcnt_epi64(against));
      }
    }
  }
  for (int p = 0; p < P; ++p)
    for (int half = 0; half < 2; ++half) {
      const __m512i sum = _mm512_sub_epi64(fired[p][half], _mm512_slli_epi64(minus[p][half], 1));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + p * kLanes + half * 8), _mm512_cvtepi64_epi32(sum));
    }
}

}  // namespace

void xnor_avx512(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 4; count -= 4, positions += 4, sums += 4 * kLanes) tile<4>(positions, window, weights, sums);
  if (count == 3) tile<3>(positions, window, weights, sums);
  if (count == 2) tile<2>(positions, window, weights, sums);
  if (count == 1) tile<1>(positions, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
