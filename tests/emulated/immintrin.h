// In the place of the compiler's header: AVX-512 and AVX-VNNI by SIMDe's plain C++, and what SIMDe lacks. AVX2 is the
// machine's own.
#pragma once

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

inline __m512i emulated_cvtepi16_epi32(__m256i a) {
  int16_t from[16];
  int32_t to[16];
  __builtin_memcpy(from, &a, sizeof from);
  for (int i = 0; i < 16; ++i) to[i] = from[i];
  return simde_mm512_loadu_si512(to);
}
#undef _mm512_cvtepi16_epi32
#define _mm512_cvtepi16_epi32 emulated_cvtepi16_epi32

inline __m256i emulated_cvtepi32_epi16(__m512i a) {
  int32_t from[16];
  int16_t to[16];
  __builtin_memcpy(from, &a, sizeof from);
  for (int i = 0; i < 16; ++i) to[i] = static_cast<int16_t>(from[i]);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(to));
}
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16

#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32  // the same by another encoding

inline __mmask16 emulated_cmplt_epi32_mask(__m512i a, __m512i b) { return simde_mm512_cmpgt_epi32_mask(b, a); }
#undef _mm512_cmplt_epi32_mask
#define _mm512_cmplt_epi32_mask emulated_cmplt_epi32_mask
