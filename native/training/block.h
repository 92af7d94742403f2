// What the passes of a block share; the reference is gxnor/nn/integer_block.py.
#pragma once

#include <cstdint>
#include <type_traits>

#include "training/phi_windows.h"
#include "training/rounding.h"
#include "training/training.h"

namespace gxnor {

constexpr int kBlockChannels = kRoundBlock;  // of a row, at a time

// z of channels begin .. begin + n of a row.
GXNOR_BODY void activate(const float* coefficients, const int16_t* sums, int64_t begin, int64_t channels, int n, float* z) {
  const float *gain = coefficients + begin, *shift = gain + channels;
  sums += begin;
  for (int i = 0; i < n; ++i) z[i] = static_cast<float>(sums[i]) * gain[i] + shift[i];
}

// g of these.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void differentiate(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, const float* dz,
                              int64_t begin, int64_t channels, int n, float* g) {
  float u[kBlockChannels], total[kBlockChannels];
  activate(coefficients, sums, begin, channels, n, u);
  const float a = phi->half_width, factor = phi->factor;
  dz += begin;
  for (int i = 0; i < n; ++i) u[i] = std::fabs(u[i]);
  for (int i = 0; i < n; ++i) total[i] = add_windows<kBoth, kTriangular>(0.0f, u[i], phi->steps[0], a);
  for (int k = 1; k < phi->count; ++k) {
    const float t = phi->steps[k];
    for (int i = 0; i < n; ++i) total[i] = add_windows<kBoth, kTriangular>(total[i], u[i], t, a);
  }
  for (int i = 0; i < n; ++i) g[i] = dz[i] * (total[i] * factor);
}

// dy of these.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void propagate(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, const float* dz,
                          int64_t begin, int64_t channels, int n, float* dy) {
  differentiate<kBoth, kTriangular>(phi, coefficients, sums, dz, begin, channels, n, dy);
  const float *by_g = coefficients + 2 * channels + begin, *by_s = by_g + channels, *by_one = by_s + channels;
  sums += begin;
  for (int i = 0; i < n; ++i) dy[i] = dy[i] * by_g[i] + (static_cast<float>(sums[i]) * by_s[i] + by_one[i]);
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
