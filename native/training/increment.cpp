// Increments in one pass; the references are adam_reference and factored_reference in gxnor/optim/increment.py.
#pragma GCC optimize("no-math-errno")  // else a square root is a call
#include <cmath>
#include <cstdint>

#include "common/vectorise.h"
#include "training/team.h"
#include "training/training.h"

namespace {

constexpr int64_t kGrain = 1 << 14;

GXNOR_BODY void adam(const float* g, float* v1, float* v2, float* dW, int64_t n, float w1, float b2, float w2, float eps,
                     float factor) {
  for (int64_t i = 0; i < n; ++i) {
    const float first = v1[i] + (g[i] - v1[i]) * w1;
    const float second = v2[i] * b2 + g[i] * g[i] * w2;
    v1[i] = first;
    v2[i] = second;
    dW[i] = first / (std::sqrt(second) + eps) * factor;
  }
}

GXNOR_BODY void factored(const float* g, const float* row, const float* column, int64_t rows, int64_t columns, float eps,
                         float factor, float* dW) {
  for (int64_t i = 0; i < rows; ++i, g += columns, dW += columns)
    for (int64_t j = 0; j < columns; ++j) dW[j] = g[j] / (row[i] * column[j] + eps) * factor;
}

}  // namespace

void gxnor_adam(const gxnor_adam_settings* settings, const float* g, float* v1, float* v2, float* dW, int64_t n,
                int32_t threads) {
  gxnor::team_for(n, kGrain, threads, [=](int64_t begin, int64_t end) {
    const auto& [w1, beta2, w2, eps, factor] = *settings;
    gxnor::vectorised<adam>(g + begin, v1 + begin, v2 + begin, dW + begin, end - begin, w1, beta2, w2, eps, factor);
  });
}

void gxnor_factored(const float* g, const float* row, const float* column, int64_t rows, int64_t columns, float eps,
                    float factor, float* dW, int32_t threads) {
  gxnor::team_for(rows, kGrain / columns + 1, threads, [=](int64_t begin, int64_t end) {
    gxnor::vectorised<factored>(g + begin * columns, row + begin, column, end - begin, columns, eps, factor,
                                dW + begin * columns);
  });
}
