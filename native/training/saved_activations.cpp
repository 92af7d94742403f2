// Exact small forms of activations; the reference is gxnor/nn/saved_formats.py.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/vectorise.h"
#include "training/pack_levels.h"
#include "training/team.h"
#include "training/training.h"

namespace {

constexpr int64_t kGrain = 1 << 14;
constexpr float kGrid = 4096.0f;  // levels are multiples of 1 / kGrid
constexpr int32_t kTopBits = 0x4e800000;  // of 2^30, beyond which no level is looked at

struct Levels {
  int32_t bits = 0;     // all of them, or-ed
  int32_t largest = 0;  // magnitude
  int32_t zeros = 0;    // whether there is one
  int32_t wrong = 0;    // whether a value is on no level
};

GXNOR_BODY Levels look(const float* x, int64_t n) {
  Levels all;
  for (int64_t begin = 0; begin < n && !all.wrong; begin += gxnor::kPackBlock) {
    const int size = static_cast<int>(n - begin < gxnor::kPackBlock ? n - begin : gxnor::kPackBlock);
    float scaled[gxnor::kPackBlock], back[gxnor::kPackBlock];
    int32_t scaled_bits[gxnor::kPackBlock], back_bits[gxnor::kPackBlock], inside[gxnor::kPackBlock];
    int32_t bits = 0, largest = 0, zeros = 0, wrong = 0;
    for (int i = 0; i < size; ++i) scaled[i] = x[begin + i] * kGrid;
    std::memcpy(scaled_bits, scaled, sizeof scaled[0] * size);
    // As bits, floats are in order of magnitude, NaN after all. What is beyond 2^30 becomes 0, which it does not equal.
    for (int i = 0; i < size; ++i) inside[i] = (scaled_bits[i] & 0x7fffffff) <= kTopBits ? scaled_bits[i] : 0;
    std::memcpy(scaled, inside, sizeof scaled[0] * size);
    for (int i = 0; i < size; ++i) {
      const int32_t level = static_cast<int32_t>(scaled[i]), magnitude = level < 0 ? -level : level;
      back[i] = static_cast<float>(level);
      bits |= level;
      largest = largest < magnitude ? magnitude : largest;
      zeros |= level == 0 ? 1 : 0;
    }
    std::memcpy(back_bits, back, sizeof back[0] * size);
    // -0 is not 0 here: what is restored is the same to the bit.
    for (int i = 0; i < size; ++i) wrong |= scaled_bits[i] ^ back_bits[i];
    all.bits |= bits;
    all.largest = all.largest < largest ? largest : all.largest;
    all.zeros |= zeros;
    all.wrong |= wrong;
  }
  return all;
}

// Whether x[i] = (index[i] - offset) / scale for integers `first` <= index[i] <= `last`, to the bit; then out holds them in
// 1, 2, 4, 8 or 16 bits each. scale is a power of two.
GXNOR_BODY bool pack(const float* x, int64_t n, float scale, float offset, float first, float last, int bits,
                     uint8_t* out) {
  const float step = 1.0f / scale;
  for (int64_t begin = 0; begin < n; begin += gxnor::kPackBlock) {
    const int size = static_cast<int>(n - begin < gxnor::kPackBlock ? n - begin : gxnor::kPackBlock);
    float index[gxnor::kPackBlock], back[gxnor::kPackBlock];
    int32_t x_bits[gxnor::kPackBlock], back_bits[gxnor::kPackBlock], wrong = 0;
    for (int i = 0; i < size; ++i) {
      float at = x[begin + i] * scale + offset;
      at = at >= first ? at : first;
      at = at <= last ? at : last;
      index[i] = static_cast<float>(static_cast<int32_t>(at));
      back[i] = (index[i] - offset) * step;
    }
    std::memcpy(x_bits, x + begin, sizeof x[0] * size);
    std::memcpy(back_bits, back, sizeof back[0] * size);
    for (int i = 0; i < size; ++i) wrong |= x_bits[i] ^ back_bits[i];  // bits: -0 is not 0 here
    if (wrong) return false;
    if (bits == 16) {
      int16_t whole[gxnor::kPackBlock];
      for (int i = 0; i < size; ++i) whole[i] = static_cast<int16_t>(index[i]);
      std::memcpy(out + begin * 2, whole, sizeof whole[0] * size);
    } else {
      gxnor::pack_levels(index, size, bits, out + begin * bits / 8);
    }
  }
  return true;
}

}  // namespace

int32_t gxnor_find_levels(const float* x, int64_t n, gxnor_levels* found, int32_t threads) {
  std::atomic<int32_t> bits{0}, largest{0}, zeros{0}, wrong{0};
  gxnor::team_for(n, kGrain, threads, [&](int64_t begin, int64_t end) {
    if (wrong.load(std::memory_order_relaxed)) return;
    const Levels some = gxnor::vectorised<look>(x + begin, end - begin);
    bits |= some.bits;
    zeros |= some.zeros;
    wrong |= some.wrong;
    int32_t before = largest.load();
    while (before < some.largest && !largest.compare_exchange_weak(before, some.largest)) {
    }
  });
  *found = {bits, largest, zeros};
  return wrong == 0;
}

int32_t gxnor_pack_levels(const gxnor_code* code, const float* x, int64_t n, uint8_t* out, int32_t threads) {
  std::atomic<bool> fits{true};
  gxnor::team_for(n, kGrain, threads, [&](int64_t begin, int64_t end) {
    if (!fits.load(std::memory_order_relaxed)) return;
    const auto& [scale, offset, first, last, bits] = *code;
    if (!gxnor::vectorised<pack>(x + begin, end - begin, scale, offset, first, last, bits, out + begin * bits / 8)) {
      fits = false;
    }
  });
  return fits;
}
