// xnor (kernels.h): 16 output channels x up to 2 positions. Gates count +1 and minus signs -2 in one signed byte, and 15
// additions of -8..8 stay in its range. Where the gates are known, only the minus signs are counted, as -1.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels/kernels.h"

namespace gxnor {
namespace {

constexpr int kPiece = 15, kPairs = kLanes / 2;

inline int8x16_t ones(uint64x2_t bits) { return vreinterpretq_s8_u8(vcntq_u8(vreinterpretq_u8_u64(bits))); }

template <Xnor kForm, int P>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
  const uint64_t* w = static_cast<const uint64_t*>(weights);
  const int32_t* const nonzeros = static_cast<const int32_t*>(weights);
  if (kForm == kBinaryActivations) w += kLanes / 2;
  int64_t gates[P] = {};
  int64x2_t total[P][kPairs];
  for (int p = 0; p < P; ++p)
    for (int pair = 0; pair < kPairs; ++pair) total[p][pair] = vdupq_n_s64(0);
  for (int begin = 0; begin < window.units; begin += kPiece) {
    const int end = begin + kPiece < window.units ? begin + kPiece : window.units;
    int8x16_t count[P][kPairs];
    for (int p = 0; p < P; ++p)
      for (int pair = 0; pair < kPairs; ++pair) count[p][pair] = vdupq_n_s8(0);
    for (int u = begin; u < end; ++u, w += 2 * kLanes) {
      uint64x2_t z[P], s[P];
      for (int p = 0; p < P; ++p) {
        uint64_t word;
        __builtin_memcpy(&word, positions[p] + window.offsets[u], 8);
        z[p] = vdupq_n_u64(word);
        if (kForm == kBinaryWeights) gates[p] += vaddv_u8(vcnt_u8(vcreate_u8(word & *w)));
        __builtin_memcpy(&word, positions[p] + window.offsets[u] + window.plane, 8);
        s[p] = vdupq_n_u64(word);
      }
      for (int pair = 0; pair < kPairs; ++pair) {
        const uint64x2_t z_w = vld1q_u64(w + 2 * pair), s_w = vld1q_u64(w + kLanes + 2 * pair);
        for (int p = 0; p < P; ++p) {
          const uint64x2_t gate = kForm == kBinaryActivations ? z_w : vandq_u64(z_w, z[p]);
          const uint64x2_t against = vandq_u64(gate, veorq_u64(s_w, s[p]));
          const int8x16_t signs = ones(against);
          count[p][pair] = kForm == kTernary
                               ? vaddq_s8(count[p][pair], vsubq_s8(ones(gate), vaddq_s8(signs, signs)))
                               : vsubq_s8(count[p][pair], signs);
        }
      }
    }
    for (int p = 0; p < P; ++p)
      for (int pair = 0; pair < kPairs; ++pair)
        total[p][pair] = vpadalq_s32(total[p][pair], vpaddlq_s16(vpaddlq_s8(count[p][pair])));
  }
  for (int p = 0; p < P; ++p)
    for (int pair = 0; pair < kPairs; ++pair) {
      int32x2_t sum = vmovn_s64(total[p][pair]);
      const int32x2_t fired = kForm == kBinaryActivations ? vld1_s32(nonzeros + 2 * pair)
                                                          : vdup_n_s32(static_cast<int32_t>(gates[p]));
      if (kForm != kTernary) sum = vadd_s32(fired, vadd_s32(sum, sum));
      vst1_s32(sums + p * kLanes + 2 * pair, sum);
    }
}

}  // namespace

template <Xnor kForm>
void xnor_neon(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 2; count -= 2, positions += 2, sums += 2 * kLanes) tile<kForm, 2>(positions, window, weights, sums);
  if (count) tile<kForm, 1>(positions, window, weights, sums);
}
template void xnor_neon<kTernary>(const uint8_t* const*, int, const Window&, const void*, int32_t*);
template void xnor_neon<kBinaryWeights>(const uint8_t* const*, int, const Window&, const void*, int32_t*);
template void xnor_neon<kBinaryActivations>(const uint8_t* const*, int, const Window&, const void*, int32_t*);

}  // namespace gxnor
#endif
