// The bit-plane product of ternary states (kernels.h) by looking up sums: 16 or 32 output channels x up to 16 positions.
//
// The states of four channels at a position are one of 81 codes, and what the plus signs of four weights add up of them one
// of 16 sums: a register holds these 16 for the code, and one shuffle picks them for 32 output channels. A second one picks
// what the minus signs take away.
#if defined(__x86_64__)
#include "kernels/dot_avx2.h"

GXNOR_TARGET("avx2")

namespace gxnor {
namespace {

constexpr int kGroups = 16;  // of four channels in a unit
constexpr int kChunk = 32;   // units whose codes are kept, and whose sums fit in 16 bits
constexpr int kBytes = 31;   // groups whose sums fit in 8 bits

// sums[code][mask]: of the states whose bit is in the mask. A code is the non-zeros of four channels, and above them the
// minus signs.
struct Sums {
  alignas(64) int8_t of[256][16];
  constexpr Sums() : of() {
    for (int code = 0; code < 256; ++code)
      for (int mask = 0; mask < 16; ++mask)
        for (int bit = 0; bit < 4; ++bit)
          if (mask >> bit & 1) of[code][mask] += static_cast<int8_t>((code >> bit & 1) - 2 * (code >> (4 + bit) & 1));
  }
};
constexpr Sums table;

// Where the sums of the codes of one unit begin in the table: [16 groups].
inline void codes_of(const uint8_t* nonzero, const uint8_t* minus, uint16_t* codes) {
  const __m128i z = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(nonzero));
  const __m128i s = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(minus));
  const __m128i low = _mm_set1_epi8(15), high = _mm_set1_epi8(-16);
  const __m128i zeros = _mm_unpacklo_epi8(_mm_and_si128(_mm_slli_epi16(z, 4), high), _mm_and_si128(z, high));
  const __m128i signs = _mm_unpacklo_epi8(_mm_and_si128(s, low), _mm_and_si128(_mm_srli_epi16(s, 4), low));
  _mm_store_si128(reinterpret_cast<__m128i*>(codes), _mm_unpacklo_epi8(zeros, signs));
  _mm_store_si128(reinterpret_cast<__m128i*>(codes) + 1, _mm_unpackhi_epi8(zeros, signs));
}

inline const __m128i* sums_at(uint16_t code) {
  return reinterpret_cast<const __m128i*>(reinterpret_cast<const uint8_t*>(table.of) + code);
}

// 16 sums of 16 bits, of even and odd lanes, to or onto 16 of 32 bits.
template <bool kFirst>
inline void write(__m128i even, __m128i odd, int32_t* sums) {
  const __m128i halves[2] = {_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)};
  for (int i = 0; i < 2; ++i) {
    __m256i* const to = reinterpret_cast<__m256i*>(sums) + i;
    const __m256i wide = _mm256_cvtepi16_epi32(halves[i]);
    _mm256_storeu_si256(to, kFirst ? wide : _mm256_add_epi32(_mm256_loadu_si256(to), wide));
  }
}

// 16 sums of 8 bits to 16 of 32.
inline void write_bytes(__m128i bytes, int32_t* sums) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), _mm256_cvtepi8_epi32(bytes));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums) + 1, _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)));
}

// The sums of one block, or two, at the positions p, of a whole window of at most kBytes groups. Of one block the upper half
// of a register picks what is taken away, in the end. Written out for each p, by a fold: GCC 12 keeps sums that a loop goes
// over in memory, and clearing them there took a third of the time.
template <bool kTwoBlocks, int... p>
void add_few(Positions<p...>, const uint16_t (*codes)[sizeof...(p)][kGroups], const Window& window, const uint8_t* weights,
             const uint8_t* second, int32_t* sums, int32_t* second_sums) {
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i sum[] = {(static_cast<void>(p), _mm256_setzero_si256())...};
  for (int u = 0; u < window.units; ++u) {
    const __m128i* w = reinterpret_cast<const __m128i*>(weights) + u * kGroups;
    const __m128i* w2 = reinterpret_cast<const __m128i*>(second) + u * kGroups;
    for (int g = 0; g < window.groups[u]; ++g) {
      const __m128i upper = kTwoBlocks ? w2[g] : _mm_srli_epi16(w[g], 4);
      const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(w[g]), upper, 1);
      const __m256i plus = _mm256_and_si256(both, nibble), minus = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
      const auto add = [&](__m256i& to, uint16_t code) {
        const __m256i known = _mm256_broadcastsi128_si256(*sums_at(code));
        to = _mm256_add_epi8(to, _mm256_shuffle_epi8(known, plus));
        if (kTwoBlocks) to = _mm256_sub_epi8(to, _mm256_shuffle_epi8(known, minus));
        asm volatile("" : "+x"(to));  // one position after the other: all at once spill
      };
      (add(sum[p], codes[u][p][g]), ...);
    }
  }
  const auto write = [&](__m256i of, int64_t at) {
    const __m128i low = _mm256_castsi256_si128(of), high = _mm256_extracti128_si256(of, 1);
    write_bytes(kTwoBlocks ? low : _mm_sub_epi8(low, high), sums + at);
    if (kTwoBlocks) write_bytes(high, second_sums + at);
  };
  (write(sum[p], p * kLanes), ...);
}

// The same of any window, for its units from `begin` to `end`: more sums than registers, written out or not.
template <int kPositions, bool kTwoBlocks, bool kFirst>
void add_units(const uint16_t (*codes)[kPositions][kGroups], const Window& window, int begin, int end, const uint8_t* weights,
               const uint8_t* second, int32_t* sums, int32_t* second_sums) {
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i even[kPositions], odd[kPositions];
  for (int u = begin; u < end; ++u, ++codes) {
    const __m128i* w = reinterpret_cast<const __m128i*>(weights) + u * kGroups;
    const __m128i* w2 = reinterpret_cast<const __m128i*>(second) + u * kGroups;
    __m256i sum[kPositions];
    for (int p = 0; p < kPositions; ++p) sum[p] = _mm256_setzero_si256();
    for (int g = 0; g < window.groups[u]; ++g) {
      const __m128i upper = kTwoBlocks ? w2[g] : _mm_srli_epi16(w[g], 4);
      const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(w[g]), upper, 1);
      const __m256i plus = _mm256_and_si256(both, nibble), minus = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
      for (int p = 0; p < kPositions; ++p) {
        const __m256i known = _mm256_broadcastsi128_si256(*sums_at((*codes)[p][g]));
        sum[p] = _mm256_add_epi8(sum[p], _mm256_shuffle_epi8(known, plus));
        if (kTwoBlocks) sum[p] = _mm256_sub_epi8(sum[p], _mm256_shuffle_epi8(known, minus));
        asm volatile("" : "+x"(sum[p]));  // one position after the other: all at once spill
      }
    }
    for (int p = 0; p < kPositions; ++p) {
      const __m256i low = _mm256_srai_epi16(_mm256_slli_epi16(sum[p], 8), 8), high = _mm256_srai_epi16(sum[p], 8);
      even[p] = u == begin ? low : _mm256_add_epi16(even[p], low);
      odd[p] = u == begin ? high : _mm256_add_epi16(odd[p], high);
    }
  }
  for (int p = 0; p < kPositions; ++p) {
    const __m128i low[2] = {_mm256_castsi256_si128(even[p]), _mm256_castsi256_si128(odd[p])};
    const __m128i high[2] = {_mm256_extracti128_si256(even[p], 1), _mm256_extracti128_si256(odd[p], 1)};
    if (kTwoBlocks) {
      write<kFirst>(low[0], low[1], sums + p * kLanes);
      write<kFirst>(high[0], high[1], second_sums + p * kLanes);
    } else {
      write<kFirst>(_mm_sub_epi16(low[0], high[0]), _mm_sub_epi16(low[1], high[1]), sums + p * kLanes);
    }
  }
}

// The positions p, of the `count` whose sums lie together.
template <int... p>
void at_once(Positions<p...> all, const uint8_t* const* positions, int count, const Window& window, bool few,
             const uint8_t* weights, int32_t* sums) {
  constexpr int kPositions = sizeof...(p);
  alignas(32) uint16_t codes[kChunk][kPositions][kGroups];
  const int64_t block = int64_t{window.units} * kGroups * kLanes;
  for (int begin = 0; begin < window.units; begin += kChunk) {
    const int end = begin + kChunk < window.units ? begin + kChunk : window.units;
    for (int u = begin; u < end; ++u)
      for (int i = 0; i < kPositions; ++i) {
        const uint8_t* const at = positions[i] + window.offsets[u];
        codes_of(at, at + window.plane, codes[u - begin][i]);
      }
    for (int b = 0; b < window.blocks; b += 2) {
      const uint8_t* const first = weights + b * block;
      int32_t* const to = sums + int64_t{b} * count * kLanes;
      const bool two = b + 1 < window.blocks;
      if (few) {
        const auto add = two ? &add_few<true, p...> : &add_few<false, p...>;
        add(all, codes, window, first, first + block, to, to + count * kLanes);
        continue;
      }
      const auto add = begin == 0 ? two ? &add_units<kPositions, true, true> : &add_units<kPositions, false, true>
                       : two      ? &add_units<kPositions, true, false>
                                  : &add_units<kPositions, false, false>;
      add(codes, window, begin, end, first, first + block, to, to + count * kLanes);
    }
  }
}

}  // namespace

void lookup_avx2(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  const uint8_t* const w = static_cast<const uint8_t*>(weights);
  int groups = 0, p = 0;
  for (int u = 0; u < window.units; ++u) groups += window.groups[u];
  const bool few = window.units <= kChunk && groups <= kBytes;
  const auto next = [&](auto all) {
    at_once(all, positions + p, count, window, few, w, sums + p * kLanes);
    p += static_cast<int>(all.size());
  };
  while (count - p >= 8) next(Positions<0, 1, 2, 3, 4, 5, 6, 7>());
  while (count - p >= 4) next(Positions<0, 1, 2, 3>());
  while (p < count) next(Positions<0>());
}

// [two planes][16 lanes] words to [16 groups][16 lanes] bytes, of every unit: the plus signs of four channels, and above them
// the minus signs.
void lookup_weights(uint8_t* weights, int units) {
  for (int u = 0; u < units; ++u, weights += kGroups * kLanes) {
    uint64_t planes[2][kLanes];
    __builtin_memcpy(planes, weights, sizeof planes);
    for (int g = 0; g < kGroups; ++g)
      for (int lane = 0; lane < kLanes; ++lane) {
        const int nonzero = planes[0][lane] >> 4 * g & 15, minus = planes[1][lane] >> 4 * g & 15;
        weights[g * kLanes + lane] = static_cast<uint8_t>((nonzero & ~minus) | minus << 4);
      }
  }
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
