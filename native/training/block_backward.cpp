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

// totals[2][channels] += those of values begin .. end, whole rows.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void reduce(const Gradient* of, int64_t begin, int64_t end, double* totals) {
  const int64_t channels = of->coefficients.channels;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int n = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    float g[kBlock], s[kBlock];
    differentiate<kBoth, kTriangular>(*of, first, n, g, s);
    for_rows(first, n, channels, [&](int i, int64_t channel, int count) {
      double* __restrict const of_g = totals + channel;
      double* __restrict const of_gs = totals + channels + channel;
      for (int j = 0; j < count; ++j) {
        const double some = g[i + j];
        of_g[j] += some;
        of_gs[j] += some * static_cast<double>(s[i + j]);
      }
    });
  }
}

// The bits of |dy|.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void magnitudes(const Gradient& of, int64_t first, int n, int32_t* bits) {
  float dy[kBlock];
  propagate<kBoth, kTriangular>(of, first, n, dy);
  for (int i = 0; i < kBlock; ++i) bits[i] = magnitude_bits(dy[i]);
}

// The largest of values begin .. end.
template <bool kBoth, bool kTriangular>
GXNOR_BODY int32_t largest(const Gradient* of, int64_t begin, int64_t end) {
  int32_t top = 0;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int n = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    int32_t bits[kBlock];
    magnitudes<kBoth, kTriangular>(*of, first, n, bits);
    for (int i = n; i < kBlock; ++i) bits[i] = 0;
    for (int i = 0; i < kBlock; ++i) top = top < bits[i] ? bits[i] : top;
  }
  return top;
}

// Those of each channel: top[channels].
template <bool kBoth, bool kTriangular>
GXNOR_BODY void largest_of_channels(const Gradient* of, int64_t begin, int64_t end, int32_t* top) {
  for (int64_t first = begin; first < end; first += kBlock) {
    const int n = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    int32_t bits[kBlock];
    magnitudes<kBoth, kTriangular>(*of, first, n, bits);
    for_rows(first, n, of->coefficients.channels, [&](int i, int64_t channel, int count) {
      int32_t* const to = top + channel;
      for (int j = 0; j < count; ++j) to[j] = to[j] < bits[i + j] ? bits[i + j] : to[j];
    });
  }
}

struct Rounding {
  const float* inverse;  // of each sample; or of each channel, as coefficients are repeated
  bool per_channel;
  float levels;
  uint64_t key;
  int64_t positions;    // of a sample
  const gxnor_pool* pool;
  const uint8_t* place;
  const uint64_t* places;    // of the stream, from the first place of a window to each
  const uint64_t* channels;  // and from the first channel to each
};

// Where the draws of n values from `first` on begin in the stream: each is at the place of its maximum, before the pool.
GXNOR_BODY void find_draws(const Rounding& how, int64_t first, int n, int64_t channels, uint64_t* draws) {
  const gxnor_pool& pool = *how.pool;
  int64_t sample = first / channels / how.positions, position = first / channels % how.positions;
  int64_t y = position / pool.out_width, x = position % pool.out_width;
  for_rows(first, n, channels, [&](int i, int64_t channel, int count) {
    const int64_t at = sample * pool.height * pool.width * channels + pool_window(pool, y, x);
    const uint64_t begin = stream_begin(how.key, at);
    const uint64_t* const steps = how.channels + channel;
    const uint8_t* const place = how.place + first + i;
    for (int j = 0; j < count; ++j) draws[i + j] = begin + how.places[place[j]] + steps[j];
    if (++x < pool.out_width) return;
    x = 0;
    if (++y < pool.out_height) return;
    y = 0;
    ++sample;
  });
  for (int i = n; i < kBlock; ++i) draws[i] = 0;
}

// Values begin .. end, begin a multiple of kBlock.
template <bool kBoth, bool kTriangular>
GXNOR_BODY void round_values(const Gradient* of, const Rounding* how, int64_t begin, int64_t end, int8_t* q) {
  const int64_t channels = of->coefficients.channels, size = how->positions * channels;
  for (int64_t first = begin; first < end; first += kBlock) {
    const int n = static_cast<int>(std::min<int64_t>(kBlock, end - first));
    float dy[kBlock], same[kBlock], u[kBlock];
    propagate<kBoth, kTriangular>(*of, first, n, dy);
    const float* inverse = how->inverse + first % channels;
    if (!how->per_channel) {
      for (int i = 0; i < kBlock;) {
        const int64_t sample = std::min(first + i, end - 1) / size;
        const int last = static_cast<int>(std::min<int64_t>(kBlock, (sample + 1) * size - first));
        const int stop = first + i < end - 1 ? last : kBlock;
        for (; i < stop; ++i) same[i] = how->inverse[sample];
      }
      inverse = same;
    }
    if (how->pool) {
      uint64_t draws[kBlock];
      int32_t bits[kBlock];
      find_draws(*how, first, n, channels, draws);
      for (int i = 0; i < kBlock; ++i) bits[i] = stream_bits(draws[i]);
      for (int i = 0; i < kBlock; ++i) u[i] = static_cast<float>(bits[i]) * 0x1p-24f;
    } else {
      uniform_block<kBlock>(how->key, first, u);
    }
    int8_t rounded[kBlock];
    round_block(dy, inverse, u, kBlock, how->levels, rounded);
    std::memcpy(q + first, rounded, n);
  }
}

}  // namespace
}  // namespace gxnor

int32_t gxnor_block_reduce(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, const float* dz,
                           int64_t rows, int64_t channels, double* totals, int32_t threads) {
  using namespace gxnor;
  const int64_t parts = (rows + kRows - 1) / kRows;
  const Memory<double> some(parts * 2 * channels);
  const Coefficients all(coefficients, 2, channels);
  if (!some || !all) return kNoMemory;
  const Gradient of = {phi, all, sums, dz};
  std::memset(some.get(), 0, parts * 2 * channels * sizeof *totals);
  for_windows(*phi, [&](auto both, auto triangular) {
    team_for(parts, 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part)
        vectorised<reduce<both, triangular>>(&of, part * kRows * channels, std::min(rows, (part + 1) * kRows) * channels,
                                             some.get() + part * 2 * channels);
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
  const Memory<uint64_t> channel_steps(channels);
  const Coefficients all(coefficients, 5, channels);
  std::atomic<bool> failed{false};
  if (!top || !inverse || !channel_steps || !all) return 3;
  const float levels = static_cast<float>((1 << (bits - 1)) - 1);
  const Gradient of = {phi, all, sums, dz};
  for_windows(*phi, [&](auto both, auto triangular) {
    const int64_t pieces = per_channel ? rows : samples, step = per_channel ? grain : grain / positions + 1;
    team_for(pieces, step, threads, [&](int64_t begin, int64_t end) {
      if (!per_channel) {
        const int64_t size = positions * channels;
        for (int64_t sample = begin; sample < end; ++sample)
          top[sample] = vectorised<largest<both, triangular>>(&of, sample * size, (sample + 1) * size);
        return;
      }
      const Memory<int32_t> some(channels);
      if (!some) {
        failed = true;
        return;
      }
      std::memset(some.get(), 0, channels * sizeof(int32_t));
      vectorised<largest_of_channels<both, triangular>>(&of, begin * channels, end * channels, some.get());
      for (int64_t c = 0; c < channels; ++c) raise_to(top[c], some.get()[c]);
    });
  });
  if (failed) return 3;
  if (!find_scales(top.get(), count, levels, inverse.get(), scale)) return 1;
  const Coefficients of_channels(inverse.get(), per_channel ? 1 : 0, channels);
  if (!of_channels) return 3;
  uint64_t places[kMostPlaces];
  for (int64_t i = 0; pool && i < pool->kernel[0] * pool->kernel[1]; ++i)
    places[i] = static_cast<uint64_t>(pool_place(*pool, i)) * kStreamStep;
  for (int64_t c = 0; c < channels; ++c) channel_steps.get()[c] = static_cast<uint64_t>(c) * kStreamStep;
  const Rounding how = {per_channel ? of_channels.all.get() : inverse.get(), per_channel != 0, levels, key, positions,
                        pool, place, places, channel_steps.get()};
  for_windows(*phi, [&](auto both, auto triangular) {
    team_for(rows * channels, 64 * kBlock, threads, [&](int64_t begin, int64_t end) {
      vectorised<round_values<both, triangular>>(&of, &how, begin, end, q);
    });
  });
  return 0;
}
