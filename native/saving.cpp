// Exact small forms of activations; the reference is gxnor/nn/saving.py.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "gxnor.h"
#include "pack_levels.h"
#include "threads.h"
#include "vectorise.h"

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
    // As bits, floats are in order of magnitude, NaN behind all. What is beyond 2^30 becomes 0, which it does not equal.
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

GXNOR_BODY void pack(const float* x, int64_t n, float scale, float offset, int bits, uint8_t* out) {
  float level[gxnor::kPackBlock];
  for (int64_t begin = 0; begin < n; begin += gxnor::kPackBlock) {
    const int size = static_cast<int>(n - begin < gxnor::kPackBlock ? n - begin : gxnor::kPackBlock);
    for (int i = 0; i < size; ++i) level[i] = x[begin + i] * scale + offset;
    gxnor::pack_levels(level, size, bits, out + begin * bits / 8);
  }
}

}  // namespace

// Whether every value is a multiple of 1/4096 of magnitude at most 2^18; then found: {all levels or-ed, the largest
// magnitude among them, whether one is 0}, a level being the value times 4096.
GXNOR_API int gxnor_find_levels(const float* x, int64_t n, int32_t* found, int threads) {
  std::atomic<int32_t> bits{0}, largest{0}, zeros{0}, wrong{0};
  gxnor::parallel_for(n, kGrain, threads, [&](int64_t begin, int64_t end) {
    if (wrong.load(std::memory_order_relaxed)) return;
    const Levels some = gxnor::vectorised<look>(x + begin, end - begin);
    bits |= some.bits;
    zeros |= some.zeros;
    wrong |= some.wrong;
    int32_t before = largest.load();
    while (before < some.largest && !largest.compare_exchange_weak(before, some.largest)) {
    }
  });
  found[0] = bits;
  found[1] = largest;
  found[2] = zeros;
  return wrong == 0;
}

// out[ceil(n * bits / 8)]: x * scale + offset, integers that fit the bits; bits 1, 2 or 4.
GXNOR_API void gxnor_pack_levels(const float* x, int64_t n, float scale, float offset, int bits, uint8_t* out,
                                 int threads) {
  gxnor::parallel_for(n, kGrain, threads, [=](int64_t begin, int64_t end) {
    gxnor::vectorised<pack>(x + begin, end - begin, scale, offset, bits, out + begin * bits / 8);
  });
}
