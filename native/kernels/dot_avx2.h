// Positions that are written out, and what dot8 and dot16 share on AVX2: 16 output channels x up to 4 positions at a time, with
// two registers of int32 sums per position, which is as many as the 16 registers hold beside weights and activations.
#pragma once

#include <immintrin.h>

#include <utility>

#include "kernels/kernels.h"
#include "common/target.h"

GXNOR_TARGET("avx2")

namespace gxnor {

template <int... p>
using Positions = std::integer_sequence<int, p...>;

// Calls dot.at_once(Positions<0, 1, ...>, ...), which is to be written out for each p, by a fold, so that the compiler keeps
// the sums in registers.
template <typename Dot>
void by_fours(Dot dot, const uint8_t* const* positions, int count, const Window& window, const void* weights,
              int32_t* sums) {
  for (; count >= 4; count -= 4, positions += 4, sums += 4 * kLanes)
    dot.at_once(Positions<0, 1, 2, 3>(), positions, window, weights, sums);
  for (; count; --count, ++positions, sums += kLanes) dot.at_once(Positions<0>(), positions, window, weights, sums);
}

template <int... p>
void store(const __m256i (&of)[sizeof...(p)][2], int32_t* sums, Positions<p...>) {
  const auto one = [](const __m256i(&from)[2], int32_t* to) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), from[0]);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), from[1]);
  };
  (one(of[p], sums + p * kLanes), ...);
}

}  // namespace gxnor
GXNOR_TARGET_END
