#include "engine/blocks.h"

#include <algorithm>
#include <cstring>

#include "common/vectorise.h"
#include "kernels/write_bits.h"

namespace gxnor {
namespace {

// Eight integers of one type as another's. By hand, as vectors: of plain loops compilers make copies through memory.
template <typename To, typename From>
GXNOR_BODY void convert_eight(const void* from, void* to) {
  Some<From, 8 * sizeof(From)> values;
  load(values, from);
  store(to, __builtin_convertvector(values, Some<To, 8 * sizeof(To)>));
}

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
    for (int half = 0; half < kLanes; half += 8) convert_eight<int32_t, int8_t>(at + half, to + half);
  } else if constexpr (kForm == Form::int16) {
    for (int half = 0; half < kLanes; half += 8) convert_eight<int32_t, int16_t>(at + 2 * half, to + half);
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
GXNOR_BODY void sum_all(const uint8_t* const* windows, int count, const int64_t* taps, int number, int64_t offset,
                        int64_t plane, int32_t* sums) {
  using Lanes = Some<uint32_t, 32>;
  for (int p = 0; p < count; ++p, sums += kLanes) {
    Lanes low = {}, high = {};
    for (int tap = 0; tap < number; ++tap) {
      alignas(32) int32_t values[kLanes];
      widen<kForm>(windows[p] + taps[tap] + offset, plane, values);
      Lanes some;
      load(some, values);
      low += some;
      load(some, values + kLanes / 2);
      high += some;
    }
    store(sums, low);
    store(sums + kLanes / 2, high);
  }
}

template <typename T>
GXNOR_BODY void store_all(const int32_t* values, int count, int64_t offset, int lanes, uint8_t* const* pixels) {
  for (int p = 0; p < count; ++p, values += kLanes) {
    uint8_t* const to = pixels[p] + offset;
    if (lanes == kLanes) {
      for (int half = 0; half < kLanes; half += 8) convert_eight<T, int32_t>(values + half, to + half * sizeof(T));
      continue;
    }
    T narrow[kLanes];
    for (int half = 0; half < kLanes; half += 8) convert_eight<T, int32_t>(values + half, narrow + half);
    write_lanes(narrow, lanes, to);
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

void sum_block(const Buffer& buffer, int block, int count, const uint8_t* const* windows, const std::vector<int64_t>& taps,
               int32_t* sums) {
  const int64_t first = int64_t{block} * kLanes;
  const int64_t* const at = taps.data();
  const int number = static_cast<int>(taps.size());
  switch (buffer.form) {
    case Form::bits:
      return vectorised<sum_all<Form::bits>>(windows, count, at, number, first / 8, buffer.plane, sums);
    case Form::int8: return vectorised<sum_all<Form::int8>>(windows, count, at, number, first, buffer.plane, sums);
    case Form::pixels: return;  // read by products alone
    case Form::int16: return vectorised<sum_all<Form::int16>>(windows, count, at, number, 2 * first, buffer.plane, sums);
    case Form::int32: return vectorised<sum_all<Form::int32>>(windows, count, at, number, 4 * first, buffer.plane, sums);
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
