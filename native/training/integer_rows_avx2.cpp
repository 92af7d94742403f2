// Two events at a time: vpmaddubsw multiplies and adds the pairs that their rows, interleaved, are made of.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>

#include "common/target.h"
#include "training/integer_rows.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

template <int kVectors>
inline __attribute__((always_inline)) void empty(__m256i (&low)[kVectors], __m256i (&high)[kVectors], int32_t* totals) {
  for (int v = 0; v < kVectors; ++v) {
    // unpack works on halves of 16 bytes: low has lanes 0 to 7 and 16 to 23
    const __m256i first = _mm256_permute2x128_si256(low[v], high[v], 0x20),
                  second = _mm256_permute2x128_si256(low[v], high[v], 0x31);
    const __m128i parts[] = {_mm256_castsi256_si128(first), _mm256_extracti128_si256(first, 1),
                             _mm256_castsi256_si128(second), _mm256_extracti128_si256(second, 1)};
    for (int i = 0; i < 4; ++i) {
      __m256i* const to = reinterpret_cast<__m256i*>(totals + v * kRowLanes) + i;
      _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), _mm256_cvtepi16_epi32(parts[i])));
    }
    low[v] = high[v] = _mm256_setzero_si256();
  }
}

template <int kVectors>
void add(const Segment* segment, int count, const Rows& of, int32_t* totals) {
  __m256i low[kVectors], high[kVectors];
  for (int v = 0; v < kVectors; ++v) low[v] = high[v] = _mm256_setzero_si256();
  int64_t room = of.pairs;
  int32_t sum = 0;
  for (const Segment* const last = segment + count; segment < last; ++segment) {
    const Pair *pair = segment->pairs, *const end = pair + segment->count;
    sum += segment->sum;
    while (pair < end) {
      const Pair* const stop = pair + std::min<int64_t>(end - pair, room);
      room -= stop - pair;
      for (; pair < stop; ++pair) {
        int16_t both;
        __builtin_memcpy(&both, pair->q, sizeof both);
        const __m256i q = _mm256_set1_epi16(both);
        const uint8_t *const a = segment->rows + pair->at[0], *const b = segment->rows + pair->at[1];
        for (int v = 0; v < kVectors; ++v) {
          const __m256i from_a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a) + v);
          const __m256i from_b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b) + v);
          low[v] = _mm256_add_epi16(low[v], _mm256_maddubs_epi16(_mm256_unpacklo_epi8(from_a, from_b), q));
          high[v] = _mm256_add_epi16(high[v], _mm256_maddubs_epi16(_mm256_unpackhi_epi8(from_a, from_b), q));
        }
      }
      if (room == 0) {
        empty<kVectors>(low, high, totals);
        room = of.pairs;
      }
    }
  }
  empty<kVectors>(low, high, totals);
  const __m256i raised = _mm256_set1_epi32(of.bound * sum);
  for (int i = 0; i < kVectors * 4; ++i) {
    __m256i* const to = reinterpret_cast<__m256i*>(totals) + i;
    _mm256_storeu_si256(to, _mm256_sub_epi32(_mm256_loadu_si256(to), raised));
  }
}

}  // namespace

const AddRows kAddRowsAvx2[] = {add<1>, add<2>, add<3>, add<4>};

}  // namespace gxnor

GXNOR_TARGET_END
#endif
