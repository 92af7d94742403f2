// dot8 (kernels.h): up to 8 blocks of 16 output channels x 32 positions. Windows are copied next to one another, 64 bytes of
// 32 positions at a time, because AMX multiplies matrices whose rows are contiguous. It multiplies signed bytes, so no zero
// point is added, and the offsets at the start of the weights are not used.
#include "kernels/kernels.h"

#if defined(GXNOR_AMX)
#include "kernels/amx.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")

namespace gxnor {
namespace {

constexpr int kSteps = 8;  // at a time, of kAmxQuads units

struct Windows {
  alignas(64) uint8_t bytes[kSteps][kAmxTall][4 * kAmxQuads];
};

// `quads` units of each step, at most kAmxQuads.
void copy(const uint8_t* const* positions, int count, const int32_t* offsets, int steps, int quads, Windows& to) {
  for (int i = 0; i < steps; ++i, offsets += quads) {
    if (quads == kAmxQuads && offsets[kAmxQuads - 1] - offsets[0] == 4 * (kAmxQuads - 1)) {  // side by side
      for (int p = 0; p < count; ++p) _mm512_store_si512(to.bytes[i][p], _mm512_loadu_si512(positions[p] + offsets[0]));
      continue;
    }
    const auto some = static_cast<__mmask16>((1u << quads) - 1);
    const __m512i at = _mm512_maskz_loadu_epi32(some, offsets);
    for (int p = 0; p < count; ++p)
      _mm512_store_si512(to.bytes[i][p], _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), some, at, positions[p], 1));
  }
}

}  // namespace

void dot8_amx(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  const int64_t block = int64_t{64} * (1 + window.units), sums_block = int64_t{64} * count;
  AmxRegisters registers;
  Windows windows;
  for (int first = 0; first < count; first += kAmxTall) {
    const int rows = std::min(kAmxTall, count - first);
    for (int unit = 0, units; unit < window.units; unit += units) {
      const int quads = std::min(kAmxQuads, window.units - unit), steps = std::min(kSteps, (window.units - unit) / quads);
      units = quads * steps;
      copy(positions + first, rows, window.offsets + unit, steps, quads, windows);
      registers.shape(rows, quads);
      for (int b = 0; b < window.blocks; b += 2)
        amx_kernel(rows, std::min(2, window.blocks - b))(
            {windows.bytes[0], 4 * kAmxQuads, sizeof windows.bytes[0],
             static_cast<const uint8_t*>(weights) + b * block + 64 * (1 + unit), block, int64_t{64} * quads, steps,
             sums + (int64_t{b} * count + first) * kLanes, 64, sums_block, unit > 0});
    }
  }
}

}  // namespace gxnor
GXNOR_TARGET_END
#endif
