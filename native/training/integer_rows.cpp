#include "training/integer_rows.h"

#include <algorithm>

namespace gxnor {
namespace {

using Words = Some<uint16_t, kRowLanes>;  // modulo 2^16, in which the sums are right

// Of words of two bytes, both lanes; their order is mended at the end.
template <int kVectors>
GXNOR_BODY void empty(Words (&low)[kVectors], Words (&high)[kVectors], int32_t* totals) {
  for (int v = 0; v < kVectors; ++v, totals += kRowLanes) {
    int16_t even[kRowLanes / 2], odd[kRowLanes / 2];
    store(even, low[v]);
    store(odd, high[v]);
    for (int i = 0; i < kRowLanes / 2; ++i) totals[2 * i] += even[i], totals[2 * i + 1] += odd[i];
    low[v] = high[v] = Words{};
  }
}

template <int kVectors>
GXNOR_BODY void add(const Segment* segment, int count, const Rows* of, int32_t* totals) {
  Words low[kVectors] = {}, high[kVectors] = {};
  int64_t room = of->pairs;
  int32_t sum = 0;
  for (const Segment* const last = segment + count; segment < last; ++segment) {
    const Pair *pair = segment->pairs, *const end = pair + segment->count;
    sum += segment->sum;
    while (pair < end) {
      const Pair* const stop = pair + std::min<int64_t>(end - pair, room);
      room -= stop - pair;
      for (; pair < stop; ++pair) {
        for (int i = 0; i < 2; ++i) {
          const Words q = Words{} + static_cast<uint16_t>(pair->q[i]);
          const uint8_t* const row = segment->rows + pair->at[i];
          for (int v = 0; v < kVectors; ++v) {
            Words both;
            load(both, row + v * kRowLanes);
            low[v] += q * (both & 255);
            high[v] += q * (both >> 8);
          }
        }
      }
      if (room == 0) {
        empty<kVectors>(low, high, totals);
        room = of->pairs;
      }
    }
  }
  empty<kVectors>(low, high, totals);
  for (int lane = 0; lane < kVectors * kRowLanes; ++lane) totals[lane] -= of->bound * sum;
}

template <int kVectors>
void add_vectorised(const Segment* segments, int count, const Rows& rows, int32_t* totals) {
  vectorised<add<kVectors>>(segments, count, &rows, totals);
}

}  // namespace

AddRows add_rows(int vectors) {
  static constexpr AddRows kAll[] = {add_vectorised<1>, add_vectorised<2>, add_vectorised<3>, add_vectorised<4>};
#if defined(__x86_64__)
  if (isa.load(std::memory_order_relaxed) != kPortable) return kAddRowsAvx2[vectors - 1];
#endif
  return kAll[vectors - 1];
}

}  // namespace gxnor
