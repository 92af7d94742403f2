// The backward pass of a block: the two sums of batch norm, and the gradient of the layer's sums, rounded, never held as
// floats.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "training/block.h"
#include "training/integer.h"
#include "training/pooling.h"
#include "training/stream.h"
#include "training/team.h"

namespace gxnor {
namespace {

constexpr int64_t kRows = 256;  // whose sums are taken one after the other
constexpr int kMostPlaces = 256;

// totals[2][channels] of some rows.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void reduce(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, const float* dz, int64_t rows,
                       int64_t channels, double* totals) {
  for (int64_t begin = 0; begin < channels; begin += kBlockChannels) {
    const int n = static_cast<int>(std::min<int64_t>(kBlockChannels, channels - begin));
    double of_g[kBlockChannels] = {}, of_gs[kBlockChannels] = {};
    for (int64_t row = 0; row < rows; ++row) {
      const int16_t* const s = sums + row * channels;
      float g[kBlockChannels];
      differentiate<kBoth, kTriangular>(phi, coefficients, s, dz + row * channels, begin, channels, n, g);
      for (int i = 0; i < n; ++i) {
        const double some = g[i];
        of_g[i] += some;
        of_gs[i] += some * static_cast<double>(s[begin + i]);
      }
    }
    std::memcpy(totals + begin, of_g, n * sizeof(double));
    std::memcpy(totals + channels + begin, of_gs, n * sizeof(double));
  }
}

struct Gradient {
  const gxnor_phi* phi;
  const float* coefficients;
  const int16_t* sums;
  const float* dz;
  int64_t channels;
};

// top[channels]: the bits of the largest |dy| of each channel over rows first .. last.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void largest(const Gradient* of, int64_t first, int64_t last, int32_t* top) {
  for (int64_t begin = 0; begin < of->channels; begin += kBlockChannels) {
    const int n = static_cast<int>(std::min<int64_t>(kBlockChannels, of->channels - begin));
    int32_t some[kBlockChannels] = {};
    for (int64_t row = first; row < last; ++row) {
      const int64_t at = row * of->channels;
      float dy[kBlockChannels];
      int32_t bits[kBlockChannels];
      propagate<kBoth, kTriangular>(of->phi, of->coefficients, of->sums + at, of->dz + at, begin, of->channels, n, dy);
      std::memcpy(bits, dy, n * sizeof bits[0]);
      for (int i = 0; i < n; ++i) {
        const int32_t magnitude = bits[i] & 0x7fffffff;
        some[i] = some[i] < magnitude ? magnitude : some[i];
      }
    }
    std::memcpy(top + begin, some, n * sizeof some[0]);
  }
}

struct Rounding {
  const float* inverse;  // of each sample, or of each channel
  bool per_channel;
  float levels;
  uint64_t key;
};

// One row of a sample, of which `first` is the number of its first value before the pool, to q.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void round_row(const Gradient* of, const Rounding* how, int64_t row, int64_t sample, const uint8_t* place,
                          const int64_t* offsets, int64_t first, int8_t* q) {
  const int64_t at = row * of->channels;
  for (int64_t begin = 0; begin < of->channels; begin += kBlockChannels) {
    const int n = static_cast<int>(std::min<int64_t>(kBlockChannels, of->channels - begin));
    float dy[kBlockChannels], same[kBlockChannels], u[kBlockChannels];
    propagate<kBoth, kTriangular>(of->phi, of->coefficients, of->sums + at, of->dz + at, begin, of->channels, n, dy);
    const float* inverse = how->inverse + begin;
    if (!how->per_channel) {
      for (int i = 0; i < n; ++i) same[i] = how->inverse[sample];
      inverse = same;
    }
    if (!place) {
      uniform_some<kBlockChannels>(how->key, first + begin, n, u);
      round_block(dy, inverse, u, n, how->levels, q + begin);
      continue;
    }
    int64_t from[kBlockChannels];
    int32_t bits[kBlockChannels];
    for (int i = 0; i < n; ++i) from[i] = offsets[place[at + begin + i]] + begin + i;
    for (int i = 0; i < n; ++i) bits[i] = stream_bits(stream_begin(how->key, first + from[i]));
    for (int i = 0; i < n; ++i) u[i] = static_cast<float>(bits[i]) * 0x1p-24f;
    round_block(dy, inverse, u, n, how->levels, q + begin);
  }
}

template <bool kBoth, bool kTriangular>
GXNOR_BODY void round_rows(const Gradient* of, const Rounding* how, const gxnor_pool* pool, const uint8_t* place,
                           int64_t positions, int64_t first, int64_t last, int8_t* q) {
  const int64_t channels = of->channels, whole = pool ? pool->height * pool->width * channels : positions * channels;
  int64_t offsets[kMostPlaces];
  if (pool)
    for (int64_t i = 0; i < pool->kernel[0] * pool->kernel[1]; ++i) offsets[i] = pool_place(*pool, 0, 0, i);
  for (int64_t row = first; row < last; ++row) {
    const int64_t sample = row / positions, position = row % positions;
    const int64_t at =
        pool ? pool_place(*pool, position / pool->out_width, position % pool->out_width, 0) - offsets[0] : position * channels;
    round_row<kBoth, kTriangular>(of, how, row, sample, place, offsets, sample * whole + at, q + row * channels);
  }
}

}  // namespace
}  // namespace gxnor

int32_t gxnor_block_reduce(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, const float* dz,
                           int64_t rows, int64_t channels, double* totals, int32_t threads) {
  using namespace gxnor;
  const int64_t parts = (rows + kRows - 1) / kRows;
  const Memory<double> some(parts * 2 * channels);
  if (!some) return kNoMemory;
  for_windows(*phi, [&](auto both, auto triangular) {
    team_for(parts, 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        const int64_t first = part * kRows, at = first * channels;
        vectorised<reduce<both, triangular>>(phi, coefficients, sums + at, dz + at, std::min(kRows, rows - first), channels,
                                             some.get() + part * 2 * channels);
      }
    });
  });
  std::memset(totals, 0, 2 * channels * sizeof *totals);
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t c = 0; c < 2 * channels; ++c) totals[c] += some.get()[part * 2 * channels + c];
  return kDone;
}

int32_t gxnor_block_round(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, const float* dz,
                          const gxnor_pool* pool, const uint8_t* place, int64_t samples, int64_t positions, int64_t channels,
                          int32_t bits, int32_t per_channel, uint64_t key, int8_t* q, float* scale, int32_t threads) {
  using namespace gxnor;
  if (bits < 2 || bits > 8 || (pool && pool->kernel[0] * pool->kernel[1] > kMostPlaces)) return 2;
  const int64_t count = per_channel ? channels : samples, rows = samples * positions, grain = (1 << 14) / channels + 1;
  const std::unique_ptr<std::atomic<int32_t>[]> top(new (std::nothrow) std::atomic<int32_t>[count]());
  const Memory<float> inverse(count);
  std::atomic<bool> failed{false};
  if (!top || !inverse) return 3;
  const Gradient of = {phi, coefficients, sums, dz, channels};
  const Rounding how = {inverse.get(), per_channel != 0, static_cast<float>((1 << (bits - 1)) - 1), key};
  for_windows(*phi, [&](auto both, auto triangular) {
    const int64_t pieces = per_channel ? rows : samples, step = per_channel ? grain : grain / positions + 1;
    team_for(pieces, step, threads, [&](int64_t begin, int64_t end) {
      const Memory<int32_t> some(channels);
      if (!some) {
        failed = true;
        return;
      }
      if (per_channel) {
        vectorised<largest<both, triangular>>(&of, begin, end, some.get());
        for (int64_t c = 0; c < channels; ++c) raise_to(top[c], some.get()[c]);
        return;
      }
      for (int64_t sample = begin; sample < end; ++sample) {
        vectorised<largest<both, triangular>>(&of, sample * positions, (sample + 1) * positions, some.get());
        top[sample] = *std::max_element(some.get(), some.get() + channels);
      }
    });
  });
  if (failed) return 3;
  if (!find_scales(top.get(), count, how.levels, inverse.get(), scale)) return 1;
  for_windows(*phi, [&](auto both, auto triangular) {
    team_for(rows, grain, threads, [&](int64_t begin, int64_t end) {
      vectorised<round_rows<both, triangular>>(&of, &how, pool, pool ? place : nullptr, positions, begin, end, q);
    });
  });
  return 0;
}
