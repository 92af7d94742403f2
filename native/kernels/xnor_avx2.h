// What the bit-plane product does with 256 products on AVX2: in its loop (xnor_avx2.cpp), and alone, to see how fast the
// core can do it at most (limit_avx2.cpp). To be included last, as it sets the target (target.h).
#pragma once

#include <immintrin.h>

#include "kernels/kernels.h"
#include "common/target.h"

GXNOR_TARGET("avx2,popcnt")

namespace gxnor {

inline __m256i xnor_table(char step) {
  const char s = step, d = static_cast<char>(2 * step), t = static_cast<char>(3 * step), q = static_cast<char>(4 * step);
  return _mm256_setr_epi8(0, s, s, d, s, d, d, t, s, d, d, t, d, t, t, q, 0, s, s, d, s, d, d, t, s, d, d, t, d, t, t, q);
}

inline __m256i xnor_look_up(__m256i table, __m256i bits) {
  const __m256i nibble = _mm256_set1_epi8(15);
  return _mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(bits, nibble)),
                         _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(bits, 4), nibble)));
}

// count + 64 products in each of 4 lanes, spread over the lane's 8 bytes; where something is binary, the minus signs alone.
template <Xnor kForm>
inline __m256i xnor_add(__m256i count, __m256i z_w, __m256i s_w, __m256i z_a, __m256i s_a) {
  const __m256i gate = kForm == kBinaryActivations ? z_w : _mm256_and_si256(z_w, z_a);
  const __m256i against = _mm256_and_si256(gate, _mm256_xor_si256(s_w, s_a));
  if (kForm != kTernary) return _mm256_add_epi8(count, xnor_look_up(xnor_table(-1), against));
  const __m256i gates = xnor_look_up(xnor_table(1), gate), signs = xnor_look_up(xnor_table(-2), against);
  return _mm256_add_epi8(count, _mm256_add_epi8(gates, signs));
}

}  // namespace gxnor
GXNOR_TARGET_END
