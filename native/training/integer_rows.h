// Sums of rows of bytes, each times a small integer: what gradients from events come down to.
#pragma once

#include "training/integer.h"

namespace gxnor {

constexpr int kRowLanes = 32;                 // bytes that are added together
constexpr int kMostRowVectors = 4;            // so many of them, whose sums stay in registers
constexpr int kMostRowLanes = kMostRowVectors * kRowLanes;

// Two events: where their rows are, and their q, as vpmaddubsw takes them. Of one alone, the second q is 0.
struct Pair {
  int32_t at[2];
  int8_t q[2];
};

// A list of events in pairs, and the sum of their q.
struct Events {
  Pair* pairs;
  int32_t count = 0, sum = 0;  // of events

  // Writes it after the others in any case, and counts it where its q is not 0.
  GXNOR_BODY void add(int32_t at, int32_t q) {
    Pair& pair = pairs[count >> 1];
    pair.at[count & 1] = at;
    pair.q[count & 1] = static_cast<int8_t>(q);
    count += q != 0;
    sum += q;
  }

  // Makes the last pair whole. Returns how many there are.
  GXNOR_BODY int32_t close() {
    if (count & 1) {
      Pair& pair = pairs[count >> 1];
      pair.at[1] = pair.at[0];
      pair.q[1] = 0;
    }
    return (count + 1) >> 1;
  }
};

// Events that share what their rows are counted from, in so many pairs.
struct Segment {
  const uint8_t* rows;
  const Pair* pairs;
  int64_t count;
  int32_t sum;
};

// Rows hold levels of at most `bound`, plus `bound`. Sums of `pairs` pairs of them, times their q, fit 16 bits.
struct Rows {
  int bound, pairs;
  Rows(int bound, int q_bound) : bound(bound), pairs(piece(bound, q_bound)) {}
};

// totals[lane] += sum over all events of q * (row[lane] - bound), of so many vectors of lanes.
using AddRows = void (*)(const Segment* segments, int count, const Rows& rows, int32_t* totals);
AddRows add_rows(int vectors);

#if defined(__x86_64__)
extern const AddRows kAddRowsAvx2[kMostRowVectors];
#endif

}  // namespace gxnor
