// Sums of rows of bytes, each times a small integer: what gradients from events come down to.
#pragma once

#include "training/integer.h"

namespace gxnor {

constexpr int kRowLanes = 32;                 // bytes that are added together
constexpr int kMostRowVectors = 4;            // so many of them, whose sums stay in registers
constexpr int kMostRowLanes = kMostRowVectors * kRowLanes;

struct Event {
  int32_t at;  // of its row
  int32_t q;
};

// Events that share what their rows are counted from.
struct Segment {
  const uint8_t* rows;
  const Event* events;
  int64_t count;
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
