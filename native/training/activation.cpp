// phi_r and its derivative window, one pass over memory each; the reference is gxnor/nn/activation.py.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>

#include "common/vectorise.h"
#include "training/pack_levels.h"
#include "training/phi_windows.h"
#include "training/team.h"
#include "training/training.h"

namespace {

constexpr int kBlock = gxnor::kPackBlock;  // elements at a time: what lies between two loops over a block stays in cache
constexpr int64_t kGrain = 1 << 14;

GXNOR_BODY void forward_binary(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] >= 0.0f ? 1.0f : -1.0f;
}

GXNOR_BODY void forward_ternary(const float* x, float* y, int64_t n, float t) {
  for (int64_t i = 0; i < n; ++i) y[i] = (x[i] > t ? 1.0f : 0.0f) - (x[i] < -t ? 1.0f : 0.0f);
}

GXNOR_BODY void forward_levels(const float* x, float* y, int64_t n, const float* t, int steps, float d) {
  float count[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock, x += kBlock, y += kBlock) {
    const int size = static_cast<int>(n - begin < kBlock ? n - begin : kBlock);
    for (int i = 0; i < size; ++i) count[i] = 0.0f;
    for (int k = 0; k < steps; ++k) {
      for (int i = 0; i < size; ++i) count[i] += (x[i] > t[k] ? 1.0f : 0.0f) - (x[i] < -t[k] ? 1.0f : 0.0f);
    }
    for (int i = 0; i < size; ++i) y[i] = count[i] * d;
  }
}

using gxnor::add_windows;

template <bool kBoth, bool kTriangular>
GXNOR_BODY void backward(const float* x, const float* dy, float* dx, int64_t n, const float* t, int steps, float a,
                         float factor) {
  float total[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock, x += kBlock, dy += kBlock, dx += kBlock) {
    const int size = static_cast<int>(n - begin < kBlock ? n - begin : kBlock);
    for (int i = 0; i < size; ++i) total[i] = 0.0f;
    for (int k = 0; k < steps; ++k) {
      for (int i = 0; i < size; ++i) total[i] = add_windows<kBoth, kTriangular>(total[i], std::fabs(x[i]), t[k], a);
    }
    for (int i = 0; i < size; ++i) dx[i] = dy[i] * (total[i] * factor);
  }
}

template <bool kBoth, bool kTriangular>
void backward_vectorised(const float* x, const float* dy, float* dx, int64_t n, const float* t, int steps, float a,
                         float factor) {
  gxnor::vectorised<backward<kBoth, kTriangular>>(x, dy, dx, n, t, steps, a, factor);
}

// In how many rectangular windows each x lies, packed; returns the largest of these counts.
template <bool kBoth>
GXNOR_BODY float windows(const float* x, uint8_t* packed, int64_t n, const float* t, int steps, float a, int bits) {
  float total[kBlock], largest = 0.0f;
  for (int64_t begin = 0; begin < n; begin += kBlock, x += kBlock) {
    const int size = static_cast<int>(n - begin < kBlock ? n - begin : kBlock);
    for (int i = 0; i < size; ++i) total[i] = 0.0f;
    for (int k = 0; k < steps; ++k) {
      for (int i = 0; i < size; ++i) total[i] = add_windows<kBoth, false>(total[i], std::fabs(x[i]), t[k], a);
    }
    for (int i = 0; i < size; ++i) largest = largest < total[i] ? total[i] : largest;
    gxnor::pack_levels(total, size, bits, packed + begin * bits / 8);
  }
  return largest;
}

template <bool kBoth>
float windows_vectorised(const float* x, uint8_t* packed, int64_t n, const float* t, int steps, float a, int bits) {
  return gxnor::vectorised<windows<kBoth>>(x, packed, n, t, steps, a, bits);
}

}  // namespace

void gxnor_phi_forward(const gxnor_phi* phi, const float* x, float* y, int64_t n, int32_t threads) {
  gxnor::team_for(n, kGrain, threads, [=](int64_t begin, int64_t end) {
    const float* from = x + begin;
    float* to = y + begin;
    if (phi->count == 0) return gxnor::vectorised<forward_binary>(from, to, end - begin);
    if (phi->count == 1) return gxnor::vectorised<forward_ternary>(from, to, end - begin, phi->steps[0]);
    gxnor::vectorised<forward_levels>(from, to, end - begin, phi->steps, phi->count, phi->height);
  });
}

void gxnor_phi_backward(const gxnor_phi* phi, const float* x, const float* dy, float* dx, int64_t n, int32_t threads) {
  const bool triangular = phi->triangular != 0;
  const auto backward = phi->count ? (triangular ? backward_vectorised<true, true> : backward_vectorised<true, false>)
                                   : (triangular ? backward_vectorised<false, true> : backward_vectorised<false, false>);
  const int steps = std::max(phi->count, 1);
  gxnor::team_for(n, kGrain, threads, [=](int64_t begin, int64_t end) {
    backward(x + begin, dy + begin, dx + begin, end - begin, phi->steps, steps, phi->half_width, phi->factor);
  });
}

int32_t gxnor_phi_windows(const gxnor_phi* phi, const float* x, uint8_t* packed, int64_t n, int32_t bits,
                          int32_t threads) {
  const auto windows = phi->count ? windows_vectorised<true> : windows_vectorised<false>;
  const int steps = std::max(phi->count, 1);
  std::atomic<int> largest{0};
  gxnor::team_for(n, kGrain, threads, [&](int64_t begin, int64_t end) {
    const int some = static_cast<int>(windows(x + begin, packed + begin * bits / 8, end - begin, phi->steps, steps,
                                              phi->half_width, bits));
    int before = largest.load();
    while (before < some && !largest.compare_exchange_weak(before, some)) {
    }
  });
  return largest;
}
