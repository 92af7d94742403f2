// In the place of the compiler's header: AVX-512 and AVX-VNNI by SIMDe's plain C++, and what SIMDe lacks, AMX among it.
// AVX2 is the machine's own.
#pragma once

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include "tiles.h"

#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32  // the same by another encoding

inline __mmask16 emulated_cmplt_epi32_mask(__m512i a, __m512i b) { return simde_mm512_cmpgt_epi32_mask(b, a); }
#undef _mm512_cmplt_epi32_mask
#define _mm512_cmplt_epi32_mask emulated_cmplt_epi32_mask

inline __m512i emulated_maskz_loadu_epi32(__mmask16 some, const void* from) {
  int32_t to[16] = {};
  for (int i = 0; i < 16; ++i)
    if (some >> i & 1) __builtin_memcpy(&to[i], static_cast<const char*>(from) + 4 * i, 4);
  return simde_mm512_loadu_si512(to);
}
#undef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32 emulated_maskz_loadu_epi32

inline __m512i emulated_maskz_srli_epi64(__mmask8 some, __m512i a, unsigned count) {
  return simde_mm512_maskz_mov_epi64(some, simde_mm512_srli_epi64(a, count));
}
#undef _mm512_maskz_srli_epi64
#define _mm512_maskz_srli_epi64 emulated_maskz_srli_epi64

inline __m512i emulated_mask_i32gather_epi32(__m512i others, __mmask16 some, __m512i at, const void* from, int scale) {
  int32_t to[16], offsets[16];
  simde_mm512_storeu_si512(to, others);
  simde_mm512_storeu_si512(offsets, at);
  for (int i = 0; i < 16; ++i)
    if (some >> i & 1) __builtin_memcpy(&to[i], static_cast<const char*>(from) + int64_t{scale} * offsets[i], 4);
  return simde_mm512_loadu_si512(to);
}
#undef _mm512_mask_i32gather_epi32
#define _mm512_mask_i32gather_epi32 emulated_mask_i32gather_epi32
