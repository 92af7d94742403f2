// The forward pass of a block: sums, pooled where there is a pool, with what batch norm's statistics are made of; then
// states.
#include <cstring>
#include <mutex>
#include <new>

#include "common/vectorise.h"
#include "training/block.h"
#include "training/integer_direct.h"
#include "training/pooling.h"
#include "training/team.h"

namespace gxnor {
namespace {

// totals[2][channels] += s, s^2, exact in double.
GXNOR_BODY void add_rows(const int16_t* sums, int64_t rows, int64_t channels, double* totals) {
  for (int64_t row = 0; row < rows; ++row, sums += channels) {
    for (int64_t c = 0; c < channels; ++c) {
      const double some = sums[c];
      totals[c] += some;
      totals[channels + c] += some * some;
    }
  }
}

GXNOR_BODY void states_of(const gxnor_phi* phi, const Coefficients* coefficients, const int16_t* sums, int64_t begin,
                          int64_t end, int8_t* states) {
  for (int64_t first = begin; first < end; first += kBlock) {
    const int n = static_cast<int>(end - first < kBlock ? end - first : kBlock);
    float z[kBlock];
    int32_t steps[kBlock];
    int16_t last[kBlock];
    int8_t some[kBlock];
    activate(coefficients->all.get() + first % coefficients->channels, coefficients->stride, padded(sums, first, n, last), z);
    for (int i = 0; i < kBlock; ++i) steps[i] = phi->count ? 0 : z[i] >= 0.0f ? 1 : -1;
    for (int k = 0; k < phi->count; ++k) {
      const float t = phi->steps[k];
      for (int i = 0; i < kBlock; ++i) steps[i] += (z[i] > t ? 1 : 0) - (z[i] < -t ? 1 : 0);
    }
    for (int i = 0; i < kBlock; ++i) some[i] = static_cast<int8_t>(steps[i]);
    std::memcpy(states + first, some, n);
  }
}

}  // namespace
}  // namespace gxnor

int32_t gxnor_block_sums(const gxnor_int_conv* conv, const gxnor_pool* pool, const int8_t* x, const int8_t* w, int16_t* sums,
                         uint8_t* place, double* totals, int32_t threads) {
  using namespace gxnor;
  const int64_t channels = conv->c_out, size = int64_t{conv->ho} * conv->wo;
  const int64_t rows = pool ? pool->out_height * pool->out_width : size;
  std::mutex mutex;
  bool failed = false;
  std::memset(totals, 0, 2 * channels * sizeof *totals);
  const Take take = [&](int64_t image, int64_t images, const int16_t* y) {
    const Memory<int16_t> at(pool ? pool->out_width * channels : 0);
    const Memory<double> some(2 * channels);
    if (!at || !some) {
      const std::lock_guard<std::mutex> lock(mutex);
      failed = true;
      return;
    }
    std::memset(some.get(), 0, 2 * channels * sizeof *totals);
    int16_t* const to = sums + image * rows * channels;
    for (int64_t i = 0; pool && i < images; ++i)
      pool_plane(*pool, y + i * size * channels, to + i * rows * channels, place + (image + i) * rows * channels, at.get());
    if (!pool) std::memcpy(to, y, images * rows * channels * sizeof *to);
    vectorised<add_rows>(static_cast<const int16_t*>(to), images * rows, channels, some.get());
    const std::lock_guard<std::mutex> lock(mutex);
    for (int64_t c = 0; c < 2 * channels; ++c) totals[c] += some.get()[c];
  };
  const int status = forward(*conv, x, w, nullptr, threads, &take);
  return status ? status : failed ? kNoMemory : kDone;
}

int32_t gxnor_block_states(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, int64_t rows,
                           int64_t channels, int8_t* states, int32_t threads) {
  const gxnor::Coefficients all(coefficients, 2, channels);
  if (!all) return gxnor::kNoMemory;
  gxnor::team_for(rows * channels, 64 * gxnor::kBlock, threads, [&](int64_t begin, int64_t end) {
    gxnor::vectorised<gxnor::states_of>(phi, &all, sums, begin, end, states);
  });
  return gxnor::kDone;
}
