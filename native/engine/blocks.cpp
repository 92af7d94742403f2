#include "engine/blocks.h"

#include <algorithm>
#include <cstring>

#include "common/vectorise.h"
#include "kernels/write_bits.h"

namespace gxnor {
namespace {

// 16 integers from one pixel. `at` may be read beyond the channels (Buffer::kSlack).
template <Form kForm>
GXNOR_BODY void widen(const uint8_t* at, [[maybe_unused]] int64_t plane, int32_t* to) {
  if constexpr (kForm == Form::bits) {
    uint16_t nonzero, minus;
    std::memcpy(&nonzero, at, sizeof nonzero);
    std::memcpy(&minus, at + plane, sizeof minus);
    for (int half = 0; half < kLanes; half += 8) {  // as vectors: of a plain loop GCC 12 makes single lanes
      using Lanes = Some<int32_t, 32>;
      const Lanes shift = Lanes{0, 1, 2, 3, 4, 5, 6, 7} + half;
      const Lanes z = Lanes{} + nonzero, s = Lanes{} + minus;
      store(to + half, (z >> shift & 1) - (s >> shift & 1) * 2);
    }
  } else if constexpr (kForm == Form::int8) {
    int8_t from[kLanes];
    std::memcpy(from, at, sizeof from);
    for (int lane = 0; lane < kLanes; ++lane) to[lane] = from[lane];
  } else if constexpr (kForm == Form::int16) {
    int16_t from[kLanes];
    std::memcpy(from, at, sizeof from);
    for (int lane = 0; lane < kLanes; ++lane) to[lane] = from[lane];
  } else {
    std::memcpy(to, at, kLanes * sizeof *to);
  }
}

template <Form kForm>
GXNOR_BODY void load_all(const uint8_t* const* pixels, int count, int64_t offset, int64_t plane, int32_t* values) {
  for (int p = 0; p < count; ++p, values += kLanes) widen<kForm>(pixels[p] + offset, plane, values);
}

GXNOR_BODY void keep_lanes(int32_t* values, int count, int lanes) {
  for (int p = 0; p < count; ++p, values += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) values[lane] = lane < lanes ? values[lane] : 0;
}

template <Form kForm>
GXNOR_BODY void sum_all(const uint8_t* const* pixels, int count, int64_t offset, int64_t plane, int32_t* sums) {
  int32_t total[kLanes] = {};
  for (int p = 0; p < count; ++p) {
    int32_t values[kLanes];
    widen<kForm>(pixels[p] + offset, plane, values);
    for (int lane = 0; lane < kLanes; ++lane) total[lane] += values[lane];
  }
  std::memcpy(sums, total, sizeof total);
}

template <typename T>
GXNOR_BODY void store_all(const int32_t* values, int count, int64_t offset, int lanes, uint8_t* const* pixels) {
  for (int p = 0; p < count; ++p, values += kLanes) {
    T narrow[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) narrow[lane] = static_cast<T>(values[lane]);
    if (lanes == kLanes)
      std::memcpy(pixels[p] + offset, narrow, sizeof narrow);
    else
      write_lanes(narrow, lanes, pixels[p] + offset);
  }
}

}  // namespace

void load_block(const Buffer& buffer, int block, int count, const uint8_t* const* pixels, int32_t* values) {
  const int64_t first = int64_t{block} * kLanes;
  switch (buffer.form) {
    case Form::bits: vectorised<load_all<Form::bits>>(pixels, count, first / 8, buffer.plane, values); break;
    case Form::int8: vectorised<load_all<Form::int8>>(pixels, count, first, buffer.plane, values); break;
    case Form::pixels: break;  // read by products alone
    case Form::int16: vectorised<load_all<Form::int16>>(pixels, count, 2 * first, buffer.plane, values); break;
    case Form::int32: vectorised<load_all<Form::int32>>(pixels, count, 4 * first, buffer.plane, values); break;
  }
  const int lanes = static_cast<int>(buffer.channels - first);
  if (lanes < kLanes && buffer.form == Form::bits) vectorised<keep_lanes>(values, count, lanes);
}

void sum_block(const Buffer& buffer, int block, int count, const uint8_t* const* pixels, int32_t* sums) {
  const int64_t first = int64_t{block} * kLanes;
  switch (buffer.form) {
    case Form::bits: return vectorised<sum_all<Form::bits>>(pixels, count, first / 8, buffer.plane, sums);
    case Form::int8: return vectorised<sum_all<Form::int8>>(pixels, count, first, buffer.plane, sums);
    case Form::pixels: return;
    case Form::int16: return vectorised<sum_all<Form::int16>>(pixels, count, 2 * first, buffer.plane, sums);
    case Form::int32: return vectorised<sum_all<Form::int32>>(pixels, count, 4 * first, buffer.plane, sums);
  }
}

void store_block(const Buffer& buffer, int block, int count, const int32_t* values, uint8_t* const* pixels) {
  const int64_t first = int64_t{block} * kLanes;
  const int lanes = static_cast<int>(std::min<int64_t>(kLanes, buffer.channels - first));
  switch (buffer.form) {
    case Form::bits:
    case Form::pixels: return;
    case Form::int8: return vectorised<store_all<int8_t>>(values, count, first, lanes, pixels);
    case Form::int16: return vectorised<store_all<int16_t>>(values, count, 2 * first, lanes, pixels);
    case Form::int32: return vectorised<store_all<int32_t>>(values, count, 4 * first, lanes, pixels);
  }
}

}  // namespace gxnor
