// The highest rates at which this core can form bit-plane products, and products of bytes: the same instructions on registers
// alone, with independent sums. benchmarks/limits.py and benchmarks/integer_layers.py time them.
#include "common/gxnor.h"

#include <cstdint>

#if defined(__x86_64__)
#include "kernels/xnor_avx2.h"

GXNOR_TARGET("avx2,popcnt")

namespace {

template <gxnor::Xnor kForm>
void products(int64_t count) {
  __m256i sums[4] = {}, z_w = _mm256_set1_epi8(0x5A), s_w = _mm256_set1_epi8(0x12);
  const __m256i z_a = _mm256_set1_epi8(0x33), s_a = _mm256_set1_epi8(0x21);
  for (int64_t i = 0; i < count; i += 4 * 256)
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(z_w), "+x"(s_w));  // other weights, for all that the compiler knows
      sum = gxnor::xnor_add<kForm>(sum, z_w, s_w, z_a, s_a);
    }
  asm volatile("" : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "+x"(sums[3]));
}

// Ternary ones, four for a look-up of what plus signs add and one of what minus signs take away (lookup_avx2.cpp).
template <>
void products<gxnor::kTernary>(int64_t count) {
  __m256i sums[4] = {}, known = _mm256_set1_epi8(3);
  const __m256i plus = _mm256_set1_epi8(5), minus = _mm256_set1_epi8(8);
  for (int64_t i = 0; i < count; i += 4 * 128)
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(known));  // another position, for all that the compiler knows
      sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(known, plus));
      sum = _mm256_sub_epi8(sum, _mm256_shuffle_epi8(known, minus));
    }
  asm volatile("" : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "+x"(sums[3]));
}

}  // namespace

// Does `count` products, a multiple of 1024, of one of the forms of gxnor::Xnor. For machines that have AVX2.
GXNOR_API void gxnor_limit_avx2(int64_t count, int32_t form) {
  constexpr void (*kForms[])(int64_t) = {products<gxnor::kTernary>, products<gxnor::kBinaryWeights>,
                                         products<gxnor::kBinaryActivations>};
  kForms[form](count);
}

// Does `count` products of bytes, a multiple of 256, as dot8 does: vpmaddubsw and an addition of 16 bits for 32 of them.
GXNOR_API void gxnor_limit_bytes_avx2(int64_t count) {
  __m256i sums[8] = {}, w = _mm256_set1_epi8(1);
  const __m256i x = _mm256_set1_epi8(2);
  for (int64_t i = 0; i < count; i += 8 * 32)
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(w));
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, w));
    }
  for (__m256i& sum : sums) asm volatile("" : "+x"(sum));
}

// Takes `count` cycles, a multiple of 16: rotations that wait for one another. (Some cores fold additions of constants.)
GXNOR_API int64_t gxnor_cycles(int64_t count) {
  int64_t x = 1;
  for (int64_t i = 0; i < count; i += 16)
    for (int k = 0; k < 16; ++k) asm volatile("rol $7, %0" : "+r"(x) : : "cc");
  return x;
}
GXNOR_TARGET_END
#endif
