// The derivative windows of phi_r; the reference is gxnor/nn/activation.py.
#pragma once

#include <cmath>

#include "common/vectorise.h"

namespace gxnor {

// `total` and what the windows of half-width a around t and, with kBoth, around -t add to it at distance u = |x| from 0;
// the common factor comes later.
template <bool kBoth, bool kTriangular>
GXNOR_BODY float add_windows(float total, float u, float t, float a) {
  const float near = std::fabs(u - t), far = u + t;
  total += kTriangular ? (a > near ? a - near : 0.0f) : (near <= a ? 1.0f : 0.0f);
  if (kBoth) total += kTriangular ? (a > far ? a - far : 0.0f) : (far < a ? 1.0f : 0.0f);
  return total;
}

}  // namespace gxnor
