// The filter transform of all instruction sets (winograd.h): U = G w G^T in bytes, [points][quads][16 lanes][4], from packed
// levels.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "common/vectorise.h"
#include "kernels/winograd_transform.h"

namespace gxnor {

// What U times what V is raised by adds, the other way round, of 16 output channels. sums: [9 taps][16 lanes] of the
// weights; offsets: [points][16 lanes].
template <int M, int kSome>
GXNOR_BODY void winograd_offsets(const int16_t* sums, int top, int32_t* offsets) {
  using F = Transform<M>;
  constexpr int kPoints = F::kPoints;
  constexpr Tables<M> kTables;
  using Lanes = Some<int32_t, kSome>;
  constexpr int kCount = kSome / sizeof(int32_t);
  for (int lane = 0; lane < kLanes; lane += kCount) {
    Lanes half[3][kPoints];
    for (int row = 0; row < 3; ++row) {
      Lanes w[3];
      for (int j = 0; j < 3; ++j) {
        Some<int16_t, kSome / 2> some;
        load(some, sums + (3 * row + j) * kLanes + lane);
        w[j] = __builtin_convertvector(some, Lanes);
      }
      F::weights(w, half[row]);
    }
    for (int j = 0; j < kPoints; ++j) {
      const Lanes column[3] = {half[0][j], half[1][j], half[2][j]};
      Lanes points[kPoints];
      F::weights(column, points);
      for (int k = 0; k < kPoints; ++k) {
        const int p = k * kPoints + j;
        store(offsets + p * kLanes + lane, -kTables.size[p] * top * points[k]);
      }
    }
  }
}

// U = G w G^T of 16 output channels. u: [points][quads][16 lanes][4], `point` bytes from one to the next.
template <int M, int kSome, int kBits>
GXNOR_BODY void expand_packed(const PackedWeights& weights, int8_t* u, int64_t point) {
  using F = Transform<M>;
  constexpr int kPoints = F::kPoints, kFields = 8 / kBits;
  using Bytes = Some<uint8_t, kSome>;
  const int64_t tap = int64_t{weights.quads} * 4 * kLanes / kFields;
  const uint8_t top = kBits == 2 ? 1 : static_cast<uint8_t>(weights.top);
  for (int64_t i = 0; i < tap; i += kSome) {
    const uint8_t* from = weights.levels + i / kPacked * 9 * kPacked + i % kPacked;
    int8_t* to = u + i / kPacked * kFields * kPacked + i % kPacked;
    for (int t = 0; t < 9; ++t) __builtin_prefetch(from + (t + 9) * kPacked);  // these come from beyond the second cache
#pragma GCC unroll 4
    for (int field = 0; field < kFields; ++field) {
      Bytes half[3][kPoints];
      for (int row = 0; row < 3; ++row) {
        Bytes w[3];
        for (int j = 0; j < 3; ++j) {
          Some<uint64_t, kSome> words;  // bytes have no shift of their own
          load(words, from + (3 * row + j) * kPacked);
          words >>= kBits * field;
          w[j] = ((Bytes)words & ((1 << kBits) - 1)) - top;  // the same bits
        }
        F::weights(w, half[row]);
      }
#pragma GCC unroll 6
      for (int j = 0; j < kPoints; ++j) {
        const Bytes column[3] = {half[0][j], half[1][j], half[2][j]};
        Bytes points[kPoints];
        F::weights(column, points);
        for (int k = 0; k < kPoints; ++k) store(to + (k * kPoints + j) * point + field * kPacked, points[k]);
      }
    }
  }
}

template <int M, int kSome>
GXNOR_BODY void winograd_filter_transform(const PackedWeights& weights, int8_t* u, int64_t point) {
  switch (weights.bits) {
    case 2: return expand_packed<M, kSome, 2>(weights, u, point);
    case 4: return expand_packed<M, kSome, 4>(weights, u, point);
    default: return expand_packed<M, kSome, 8>(weights, u, point);
  }
}

// Both.
template <int M, int kSome>
GXNOR_BODY void winograd_filter_transform_raised(const PackedWeights& weights, int top, int8_t* u, int64_t point,
                                                 int32_t* offsets) {
  winograd_offsets<M, kSome>(weights.sums, top, offsets);
  winograd_filter_transform<M, kSome>(weights, u, point);
}

}  // namespace gxnor
