// What the passes of a block share; the reference is gxnor/nn/integer_block.py.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "training/integer.h"
#include "training/phi_windows.h"
#include "training/rounding.h"
#include "training/training.h"

namespace gxnor {

constexpr int kBlock = kRoundBlock;

// coefficients[count][channels], repeated so that any kBlock values in a row of memory find theirs in a row.
struct Coefficients {
  int64_t channels, stride;
  Memory<float> all;

  Coefficients(const float* coefficients, int count, int64_t channels)
      : channels(channels), stride(channels + kBlock), all(count * stride) {
    for (int64_t i = 0; all && i < count * stride; ++i)
      all.get()[i] = coefficients[i / stride * channels + i % stride % channels];
  }
  explicit operator bool() const { return static_cast<bool>(all); }
};

// The gradient of a block's output, and what it is to be led back through.
struct Gradient {
  const gxnor_phi* phi;
  const Coefficients& coefficients;
  const int16_t* sums;
  const float* dz;
};

// z of kBlock values, whose coefficients begin at `gain`.
GXNOR_BODY void activate(const float* gain, int64_t stride, const int16_t* sums, float* z) {
  const float* const shift = gain + stride;
  for (int i = 0; i < kBlock; ++i) z[i] = static_cast<float>(sums[i]) * gain[i] + shift[i];
}

// Values first .. first + n, n <= kBlock: where they are, or zeros after them where they are the last ones.
template <typename T>
GXNOR_BODY const T* padded(const T* all, int64_t first, int n, T* some) {
  if (n == kBlock) return all + first;
  for (int i = 0; i < kBlock; ++i) some[i] = 0;
  std::memcpy(some, all + first, n * sizeof(T));
  return some;
}

// g of the n values from `first` on, and in `sums` what they are of.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void differentiate(const Gradient& of, int64_t first, int n, float* g, float* sums) {
  const float* const gain = of.coefficients.all.get() + first % of.coefficients.channels;
  int16_t last_sums[kBlock];
  float last_dz[kBlock], u[kBlock], total[kBlock];
  const int16_t* const s = padded(of.sums, first, n, last_sums);
  const float *const dz = padded(of.dz, first, n, last_dz), *const shift = gain + of.coefficients.stride;
  const float a = of.phi->half_width, factor = of.phi->factor, lowest = of.phi->steps[0];
  for (int i = 0; i < kBlock; ++i) sums[i] = static_cast<float>(s[i]);
  for (int i = 0; i < kBlock; ++i) u[i] = std::fabs(sums[i] * gain[i] + shift[i]);
  for (int i = 0; i < kBlock; ++i) total[i] = add_windows<kBoth, kTriangular>(0.0f, u[i], lowest, a);
  for (int k = 1; k < of.phi->count; ++k) {
    const float t = of.phi->steps[k];
    for (int i = 0; i < kBlock; ++i) total[i] = add_windows<kBoth, kTriangular>(total[i], u[i], t, a);
  }
  for (int i = 0; i < kBlock; ++i) g[i] = dz[i] * (total[i] * factor);
}

// dy of these.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void propagate(const Gradient& of, int64_t first, int n, float* dy) {
  float sums[kBlock];
  differentiate<kBoth, kTriangular>(of, first, n, dy, sums);
  const int64_t stride = of.coefficients.stride;
  const float* const by_g = of.coefficients.all.get() + first % of.coefficients.channels + 2 * stride;
  const float *const by_s = by_g + stride, *const by_one = by_s + stride;
  for (int i = 0; i < kBlock; ++i) dy[i] = dy[i] * by_g[i] + (sums[i] * by_s[i] + by_one[i]);
}

// Calls each(i, channel, count) for the parts of n values from `first` on that are in one row of channels, `count` of them
// from value i on.
template <typename F>
GXNOR_BODY void for_rows(int64_t first, int n, int64_t channels, F&& each) {
  int64_t channel = first % channels;
  for (int i = 0; i < n; channel = 0) {
    const int count = static_cast<int>(channels - channel < n - i ? channels - channel : n - i);
    each(i, channel, count);
    i += count;
  }
}

// Calls function(std::bool_constant both, std::bool_constant triangular) as the windows are.
template <typename F>
auto for_windows(const gxnor_phi& phi, F&& function) {
  const bool triangular = phi.triangular != 0;
  if (phi.count)
    return triangular ? function(std::true_type(), std::true_type()) : function(std::true_type(), std::false_type());
  return triangular ? function(std::false_type(), std::true_type()) : function(std::false_type(), std::false_type());
}

}  // namespace gxnor
