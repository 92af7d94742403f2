// phi_r and its derivative window, one pass over memory each; the reference is gxnor/nn/activation.py.
#include <cmath>
#include <cstdint>

#include "gxnor.h"
#include "threads.h"

namespace {

constexpr int64_t kGrain = 1 << 14;

void forward_binary(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] >= 0.0f ? 1.0f : -1.0f;
}

void forward_ternary(const float* x, float* y, int64_t n, float t) {
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] > t ? 1.0f : 0.0f) - (x[i] < -t ? 1.0f : 0.0f);
}

void forward_levels(const float* x, float* y, int64_t n, const float* t, int steps, float d) {
  for (int64_t i = 0; i < n; ++i) {
    const float u = std::fabs(x[i]);
    float count = 0.0f;
    for (int k = 0; k < steps; ++k) count += u > t[k] ? 1.0f : 0.0f;
    y[i] = std::copysign(count * d, x[i]);
  }
}

// Area of all windows at distance u = |x| from 0, before the common factor. `both`: steps lie on both sides of 0.
inline float rectangles(float u, const float* t, int steps, bool both, float a) {
  float total = 0.0f;
  for (int k = 0; k < steps; ++k) {
    total += std::fabs(u - t[k]) <= a ? 1.0f : 0.0f;
    if (both) total += u + t[k] < a ? 1.0f : 0.0f;
  }
  return total;
}

inline float triangles(float u, const float* t, int steps, bool both, float a) {
  float total = 0.0f;
  for (int k = 0; k < steps; ++k) {
    const float near = a - std::fabs(u - t[k]);
    total += near > 0.0f ? near : 0.0f;
    if (both) {
      const float far = a - (u + t[k]);
      total += far > 0.0f ? far : 0.0f;
    }
  }
  return total;
}

}  // namespace

// steps = 0 means binary.
GXNOR_API void gxnor_phi_forward(const float* x, float* y, int64_t n, const float* t, int steps, float d, int threads) {
  gxnor::parallel_for(n, kGrain, threads, [=](int64_t begin, int64_t end) {
    if (steps == 0) return forward_binary(x + begin, y + begin, end - begin);
    if (steps == 1) return forward_ternary(x + begin, y + begin, end - begin, t[0]);
    forward_levels(x + begin, y + begin, end - begin, t, steps, d);
  });
}

GXNOR_API void gxnor_phi_backward(const float* x, const float* dy, float* dx, int64_t n, const float* t, int steps,
                                  float d, float a, int triangular, int threads) {
  const bool both = steps > 0;
  const int count = both ? steps : 1;
  const float factor = triangular ? static_cast<float>(static_cast<double>(d) / (static_cast<double>(a) * a))
                                  : static_cast<float>(static_cast<double>(d) / (2.0 * a));
  gxnor::parallel_for(n, kGrain, threads, [=](int64_t begin, int64_t end) {
    if (triangular) {
      for (int64_t i = begin; i < end; ++i) dx[i] = dy[i] * (triangles(std::fabs(x[i]), t, count, both, a) * factor);
    } else if (count == 1) {  // the common case, written so that it vectorises
      const float step = t[0];
      const float other = both ? 1.0f : 0.0f;
      for (int64_t i = begin; i < end; ++i) {
        const float u = std::fabs(x[i]);
        const float inside = std::fabs(u - step) <= a ? 1.0f : 0.0f;
        const float overlap = u + step < a ? other : 0.0f;
        dx[i] = dy[i] * ((inside + overlap) * factor);
      }
    } else {
      for (int64_t i = begin; i < end; ++i) dx[i] = dy[i] * (rectangles(std::fabs(x[i]), t, count, both, a) * factor);
    }
  });
}
