// As limit_avx2.cpp, with AVX-512: the highest rate of bit-plane products on this core.
#include "common/gxnor.h"

#include <cstdint>

#if defined(__x86_64__)
#include "kernels/xnor_avx512.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vpopcntdq,popcnt")

namespace {

template <gxnor::Xnor kForm>
void products(int64_t count) {
  gxnor::XnorCount sums[4] = {};
  __m512i z_w = _mm512_set1_epi8(0x5A), s_w = _mm512_set1_epi8(0x12);
  const __m512i z_a = _mm512_set1_epi8(0x33), s_a = _mm512_set1_epi8(0x21);
  for (int64_t i = 0; i < count; i += 4 * 512)
    for (gxnor::XnorCount& sum : sums) {
      asm volatile("" : "+v"(z_w), "+v"(s_w));  // other weights, for all that the compiler knows
      gxnor::xnor_add<kForm>(sum, z_w, s_w, z_a, s_a);
    }
  for (const gxnor::XnorCount& sum : sums) asm volatile("" : : "v"(sum.fired), "v"(sum.minus));
}

}  // namespace

// Does `count` products, a multiple of 2048, of one of the forms of gxnor::Xnor. For machines that have these instructions.
GXNOR_API void gxnor_limit_avx512(int64_t count, int32_t form) {
  constexpr void (*kForms[])(int64_t) = {products<gxnor::kTernary>, products<gxnor::kBinaryWeights>,
                                         products<gxnor::kBinaryActivations>};
  kForms[form](count);
}

// The same, of bytes (dot8_avx512.cpp). An instruction takes longer than four others: eight sums.
GXNOR_API void gxnor_limit_bytes_avx512(int64_t count) {
  __m512i sums[8] = {}, x = _mm512_set1_epi8(3);
  const __m512i w = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < count; i += 8 * 64)
    for (__m512i& sum : sums) {
      asm volatile("" : "+v"(x));
      sum = _mm512_dpbusd_epi32(sum, x, w);
    }
  for (const __m512i& sum : sums) asm volatile("" : : "v"(sum));
}
GXNOR_TARGET_END
#endif
