// What dot8 and dot16 share on AVX-512: 16 output channels x up to 8 positions at a time, with one register of int32 sums
// per position and block, so that the sums stay in registers over all units.
#pragma once

#include <immintrin.h>

#include <utility>

#include "kernels/kernels.h"
#include "common/target.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace gxnor {

// Calls dot.at_once(sequence of the positions' numbers, positions, ...), which is to be written out for each of them, by a
// fold, so that the compiler keeps the sums in registers and does not copy them. `to`: dot.kStep for each position.
template <typename Dot, typename To>
void by_eights(const Dot& dot, const uint8_t* const* positions, int count, const Window& window, const void* weights,
               To to) {
  for (; count >= 8; count -= 8, positions += 8, to += 8 * Dot::kStep)
    dot.at_once(std::make_integer_sequence<int, 8>(), positions, window, weights, to);
  for (; count >= 2; count -= 2, positions += 2, to += 2 * Dot::kStep)
    dot.at_once(std::make_integer_sequence<int, 2>(), positions, window, weights, to);
  if (count) dot.at_once(std::make_integer_sequence<int, 1>(), positions, window, weights, to);
}

}  // namespace gxnor
GXNOR_TARGET_END
