// Packed states to the float values they stand for; the reference is dequantize_reference in gxnor/nn/parameter.py.
#include <cstdint>
#include <cstring>

#include "training/team.h"
#include "training/training.h"

namespace {

constexpr int64_t kGrain = 1 << 14;  // bytes

template <int kPerByte>
void unpack(const uint8_t* packed, int64_t bytes, const float* table, float* out) {
  for (int64_t b = 0; b < bytes; ++b) {
    std::memcpy(out + b * kPerByte, table + packed[b] * kPerByte, kPerByte * sizeof(float));
  }
}

}  // namespace

void gxnor_unpack(const uint8_t* packed, int32_t per_byte, const float* table, float* out, int64_t n, int32_t threads) {
  const auto some = per_byte == 1 ? unpack<1> : per_byte == 2 ? unpack<2> : per_byte == 4 ? unpack<4> : unpack<8>;
  const int64_t bytes = n / per_byte, rest = n % per_byte;
  gxnor::team_for(bytes, kGrain, threads, [=](int64_t begin, int64_t end) {
    some(packed + begin, end - begin, table, out + begin * per_byte);
  });
  if (rest) std::memcpy(out + bytes * per_byte, table + packed[bytes] * per_byte, rest * sizeof(float));
}
