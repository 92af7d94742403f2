// 16 channels x up to 2 positions. Gates count +1 and minus signs -2 straight into one signed byte each, of which 15
// additions of -8..8 stay in range.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "kernels.h"

namespace gxnor {
namespace {

constexpr int kPiece = 15, kPairs = kLanes / 2;

template <int P>
void tile(const uint8_t* const* positions, const Window& window, const void* weights, int32_t* sums) {
  const uint64_t* w = static_cast<const uint64_t*>(weights);
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
        __builtin_memcpy(&word, positions[p] + window.offsets[u] + window.plane, 8);
        s[p] = vdupq_n_u64(word);
      }
      for (int pair = 0; pair < kPairs; ++pair) {
        const uint64x2_t z_w = vld1q_u64(w + 2 * pair), s_w = vld1q_u64(w + kLanes + 2 * pair);
        for (int p = 0; p < P; ++p) {
          const uint64x2_t gate = vandq_u64(z_w, z[p]), against = vandq_u64(gate, veorq_u64(s_w, s[p]));
          const int8x16_t gates = vreinterpretq_s8_u8(vcntq_u8(vreinterpretq_u8_u64(gate)));
          const int8x16_t signs = vreinterpretq_s8_u8(vcntq_u8(vreinterpretq_u8_u64(against)));
          count[p][pair] = vaddq_s8(count[p][pair], vsubq_s8(gates, vaddq_s8(signs, signs)));
        }
      }
    }
    for (int p = 0; p < P; ++p)
      for (int pair = 0; pair < kPairs; ++pair)
        total[p][pair] = vpadalq_s32(total[p][pair], vpaddlq_s16(vpaddlq_s8(count[p][pair])));
  }
  for (int p = 0; p < P; ++p)
    for (int pair = 0; pair < kPairs; ++pair) vst1_s32(sums + p * kLanes + 2 * pair, vmovn_s64(total[p][pair]));
}

}  // namespace

void xnor_neon(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 2; count -= 2, positions += 2, sums += 2 * kLanes) tile<2>(positions, window, weights, sums);
  if (count) tile<1>(positions, window, weights, sums);
}

}  // namespace gxnor
#endif
