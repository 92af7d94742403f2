// Stochastic rounding to small integers: the arithmetic of gxnor/nn/integer.py's quantize.
#pragma once

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/vectorise.h"

namespace gxnor {

constexpr int kRoundBlock = 256;  // elements at a time: what lies between two loops over a block stays in cache
constexpr int32_t kInfinite = 0x7f800000;

// The bits of |x|. As bits, magnitudes of floats are in order, infinity and NaN after all finite ones.
GXNOR_BODY int32_t magnitude_bits(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffff;
}

inline void raise_to(std::atomic<int32_t>& top, int32_t some) {
  int32_t before = top.load(std::memory_order_relaxed);
  while (before < some && !top.compare_exchange_weak(before, some)) {
  }
}

// From the bits of absolute maxima, their scales and the inverses of these; whether all are finite.
inline bool find_scales(const std::atomic<int32_t>* top, int64_t count, float levels, float* inverse, float* scale) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t some = top[i];
    if (some >= kInfinite) return false;
    float absmax;
    std::memcpy(&absmax, &some, sizeof absmax);
    inverse[i] = levels / absmax;
    const bool nothing = !(absmax > 0.0f) || std::isinf(inverse[i]);
    if (nothing) inverse[i] = 0.0f;
    scale[i] = nothing ? 0.0f : absmax / levels;
  }
  return true;
}

// q = floor(x * inverse + u), n <= kRoundBlock. Rounding alone can lead out of -levels..levels.
GXNOR_BODY void round_block(const float* x, const float* inverse, const float* u, int n, float levels, int8_t* q) {
  int32_t whole[kRoundBlock];
  for (int i = 0; i < n; ++i) {
    const float y = x[i] * inverse[i] + u[i];
    const float low = y < -levels ? -levels : y;
    const float inside = low > levels ? levels : low;
    const int32_t towards_zero = static_cast<int32_t>(inside);
    whole[i] = towards_zero - (static_cast<float>(towards_zero) > inside ? 1 : 0);
  }
  for (int i = 0; i < n; ++i) q[i] = static_cast<int8_t>(whole[i]);
}

}  // namespace gxnor
