// What the gradients from events (integer_events.h) share: lists of events by the outputs they belong to.
#pragma once

#include <algorithm>
#include <cstring>

#include "training/integer_events.h"
#include "training/integer_rows.h"
#include "training/pooling.h"

namespace gxnor {

constexpr int64_t kPositions = 1024;  // at a time, where the batch has so many

constexpr int64_t padded(int64_t lanes) { return (lanes + kRowLanes - 1) / kRowLanes * kRowLanes; }

// Calls each(i, q[i]) for all that are not zero and, where these are `many`, for the zeros as well: what to do is then hard
// to foresee, and a branch costs more than a value.
template <typename F>
GXNOR_BODY void for_events(const int8_t* q, int64_t n, bool many, F&& each) {
  if (many) {
    for (int64_t i = 0; i < n; ++i) each(i, q[i]);
    return;
  }
  for (int64_t begin = 0; begin < n; begin += 8) {
    uint64_t word = 0;
    std::memcpy(&word, q + begin, std::min<int64_t>(8, n - begin));
    for (; word; word &= ~(uint64_t{255} << (__builtin_ctzll(word) & ~7))) {
      const int64_t i = begin + __builtin_ctzll(word) / 8;
      each(i, q[i]);
    }
  }
}

GXNOR_BODY void write(const int32_t* totals, int lanes, float scale, float* to) {
  for (int lane = 0; lane < lanes; ++lane) to[lane] = static_cast<float>(totals[lane]) * scale;
}

inline bool are_many(const gxnor_int_conv& c, const Rounded& rounded, int64_t events) {
  return events * 12 > c.n * rounded.positions(c) * c.c_out;
}

// The outputs that the values of a position may belong to: origin[position] + offset[place].
struct Places {
  int64_t count;
  Memory<int32_t> origin, offset;

  Places(const gxnor_int_conv& c, const Rounded& rounded)
      : count(rounded.pool ? rounded.pool->kernel[0] * rounded.pool->kernel[1] : 1),
        origin(rounded.positions(c)),
        offset(count) {
    if (!*this) return;
    const gxnor_pool* const pool = rounded.pool;
    offset.get()[0] = 0;
    for (int64_t p = 0; p < rounded.positions(c); ++p)
      origin.get()[p] = static_cast<int32_t>(
          pool ? pool_window(*pool, p / pool->out_width, p % pool->out_width) / pool->inner : p);
    for (int64_t i = 1; i < count; ++i)
      offset.get()[i] = static_cast<int32_t>(pool_place(*pool, i) / pool->inner);
  }
  explicit operator bool() const { return origin && offset; }
};

}  // namespace gxnor
