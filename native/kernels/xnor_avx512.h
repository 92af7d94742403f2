// What the bit-plane product does with 512 products on AVX-512: in its loop (xnor_avx512.cpp), and alone, to see how fast
// the core can do it at most (limit_avx512.cpp). To be included last, as it sets the target (target.h).
#pragma once

#include <immintrin.h>

#include "kernels/kernels.h"
#include "common/target.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq,popcnt")

namespace gxnor {

struct XnorCount {
  __m512i fired, minus;  // of 8 lanes; fired only where nothing is binary
};

// 64 products more in each lane.
template <Xnor kForm>
inline void xnor_add(XnorCount& count, __m512i z_w, __m512i s_w, __m512i z_a, __m512i s_a) {
  constexpr int kAndXor = 0x60;  // a & (b ^ c)
  const __m512i gate = kForm == kBinaryActivations ? z_w : _mm512_and_si512(z_w, z_a);
  const __m512i against = _mm512_ternarylogic_epi64(gate, s_w, s_a, kAndXor);
  if (kForm == kTernary) count.fired = _mm512_add_epi64(count.fired, _mm512_popcnt_epi64(gate));
  count.minus = _mm512_add_epi64(count.minus, _mm512_popcnt_epi64(against));
}

}  // namespace gxnor
GXNOR_TARGET_END
