// What dot8 and dot16 share on AVX-512: 16 channels x up to 8 positions of int32 sums in registers.
#pragma once

#include <immintrin.h>

#include "kernels.h"
#include "target.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {

// Calls Dot::tile<P>(positions, window, weights, sums) for as many positions at a time as there are left.
template <typename Dot>
void by_eights(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  for (; count >= 8; count -= 8, positions += 8, sums += 8 * kLanes)
    Dot::template tile<8>(positions, window, weights, sums);
  for (; count >= 2; count -= 2, positions += 2, sums += 2 * kLanes)
    Dot::template tile<2>(positions, window, weights, sums);
  if (count) Dot::template tile<1>(positions, window, weights, sums);
}

}  // namespace gxnor
GXNOR_TARGET_END
