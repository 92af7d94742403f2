// Packed states to the float values they stand for; the reference is dequantize_reference in gxnor/nn/parameter.py. And to
// levels in bytes, images with channels last; the reference is levels_reference in gxnor/nn/integer_operands.py.
#include <atomic>
#include <cstdint>
#include <cstring>

#include "training/integer.h"
#include "training/team.h"
#include "training/training.h"

namespace {

constexpr int64_t kGrain = 1 << 14;  // bytes

template <int kPerByte, typename T>
void unpack(const uint8_t* packed, int64_t bytes, const T* table, T* out) {
  for (int64_t b = 0; b < bytes; ++b) {
    std::memcpy(out + b * kPerByte, table + packed[b] * kPerByte, kPerByte * sizeof(T));
  }
}

template <typename T>
auto unpack_of(int per_byte) {
  return per_byte == 1 ? unpack<1, T> : per_byte == 2 ? unpack<2, T> : per_byte == 4 ? unpack<4, T> : unpack<8, T>;
}

}  // namespace

void gxnor_unpack(const uint8_t* packed, int32_t per_byte, const float* table, float* out, int64_t n, int32_t threads) {
  const auto some = unpack_of<float>(per_byte);
  const int64_t bytes = n / per_byte, rest = n % per_byte;
  gxnor::team_for(bytes, kGrain, threads, [=](int64_t begin, int64_t end) {
    some(packed + begin, end - begin, table, out + begin * per_byte);
  });
  if (rest) std::memcpy(out + bytes * per_byte, table + packed[bytes] * per_byte, rest * sizeof(float));
}

int32_t gxnor_unpack_levels(const uint8_t* packed, int32_t per_byte, const int8_t* table, int64_t outputs, int64_t channels,
                            int64_t taps, int8_t* out, int32_t threads) {
  const auto some = unpack_of<int8_t>(per_byte);
  const int64_t size = channels * taps;
  std::atomic<bool> failed{false};
  gxnor::team_for(outputs, kGrain / size + 1, threads, [&](int64_t begin, int64_t end) {
    const gxnor::Memory<int8_t> row(size + 2 * per_byte);  // with what else is in its first and its last byte
    if (!row) {
      failed = true;
      return;
    }
    for (int64_t o = begin; o < end; ++o) {
      const int64_t first = o * size / per_byte, last = ((o + 1) * size - 1) / per_byte;
      const int8_t* const levels = row.get() + o * size % per_byte;
      some(packed + first, last - first + 1, table, row.get());
      int8_t* to = out + o * size;
      if (taps == 1) std::memcpy(to, levels, size);
      for (int64_t tap = 0; taps > 1 && tap < taps; ++tap, to += channels)
        for (int64_t c = 0; c < channels; ++c) to[c] = levels[c * taps + tap];
    }
  });
  return failed ? gxnor::kNoMemory : gxnor::kDone;
}
