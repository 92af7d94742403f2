// Gradients to small integers by stochastic rounding; the reference is gxnor/nn/integer.py.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "common/vectorise.h"
#include "training/rounding.h"
#include "training/stream.h"
#include "training/team.h"
#include "training/training.h"

namespace {

constexpr int kBlock = gxnor::kRoundBlock;
constexpr int64_t kGrain = 64 * kBlock;  // elements

GXNOR_BODY int32_t largest(const float* x, int64_t n) {
  int32_t top = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int size = static_cast<int>(n - begin < kBlock ? n - begin : kBlock);
    int32_t bits[kBlock];
    std::memcpy(bits, x + begin, sizeof bits[0] * size);
    for (int i = 0; i < size; ++i) {
      const int32_t magnitude = bits[i] & 0x7fffffff;
      top = top < magnitude ? magnitude : top;
    }
  }
  return top;
}

// top[c] over `rows` rows of so many channels.
GXNOR_BODY void largest_of_channels(const float* x, int64_t rows, int64_t channels, int32_t* top) {
  for (int64_t begin = 0; begin < channels; begin += kBlock) {
    const int size = static_cast<int>(channels - begin < kBlock ? channels - begin : kBlock);
    int32_t some[kBlock] = {};
    for (int64_t row = 0; row < rows; ++row) {
      int32_t bits[kBlock];
      std::memcpy(bits, x + row * channels + begin, sizeof bits[0] * size);
      for (int i = 0; i < size; ++i) {
        const int32_t magnitude = bits[i] & 0x7fffffff;
        some[i] = some[i] < magnitude ? magnitude : some[i];
      }
    }
    std::memcpy(top + begin, some, sizeof some[0] * size);
  }
}

struct Rounding {
  const float* inverse;  // of each sample; or of each channel, and kBlock of them once more
  int64_t size, channels;  // elements of a sample; 0 channels where each sample has its own
  float levels;
  uint64_t key;
};

// The inverses of kBlock elements: in `some`, or where they are.
GXNOR_BODY const float* inverses(const Rounding& of, int64_t first, float* some) {
  if (of.channels) return of.inverse + first % of.channels;
  for (int64_t i = 0, sample = first / of.size, end; i < kBlock; ++sample, i = end) {
    end = (sample + 1) * of.size - first < kBlock ? (sample + 1) * of.size - first : kBlock;
    for (int64_t j = i; j < end; ++j) some[j] = of.inverse[sample];
  }
  return some;
}

// Elements begin..end, begin a multiple of kBlock.
GXNOR_BODY void round_some(const float* x, int64_t begin, int64_t end, const Rounding* of, int8_t* q) {
  float u[kBlock], some[kBlock], last[kBlock] = {};
  for (int64_t first = begin; first < end; first += kBlock) {
    const int size = static_cast<int>(end - first < kBlock ? end - first : kBlock);
    const float* inverse = inverses(*of, first, some);
    gxnor::uniform_block<kBlock>(of->key, first, u);
    if (size == kBlock) {
      gxnor::round_block(x + first, inverse, u, kBlock, of->levels, q + first);
      continue;
    }
    int8_t rounded[kBlock];
    std::memcpy(last, x + first, sizeof last[0] * size);
    gxnor::round_block(last, inverse, u, kBlock, of->levels, rounded);
    std::memcpy(q + first, rounded, size);
  }
}

}  // namespace

int32_t gxnor_int_quantize(const float* dy, int64_t samples, int64_t positions, int64_t channels, int32_t bits,
                           int32_t per_channel, uint64_t key, int8_t* q, float* scale, int32_t threads) {
  if (bits < 2 || bits > 8) return 2;
  const float levels = static_cast<float>((1 << (bits - 1)) - 1);
  const int64_t count = per_channel ? channels : samples, size = positions * channels, n = samples * size;
  const int64_t again = kBlock;  // after the last inverse, so that a block finds its own in a row
  const std::unique_ptr<std::atomic<int32_t>[]> top(new (std::nothrow) std::atomic<int32_t>[count]());
  const std::unique_ptr<float[]> inverse(new (std::nothrow) float[count + again]);
  std::atomic<bool> short_of_memory{false};
  if (!top || !inverse) return 3;
  if (per_channel) {
    const int64_t grain = 8 * kGrain / (channels + 1) + 1;
    gxnor::team_for(samples * positions, grain, threads, [&](int64_t begin, int64_t end) {
      const std::unique_ptr<int32_t[]> some(new (std::nothrow) int32_t[channels]());
      if (!some) {
        short_of_memory = true;
        return;
      }
      gxnor::vectorised<largest_of_channels>(dy + begin * channels, end - begin, channels, some.get());
      for (int64_t c = 0; c < channels; ++c) gxnor::raise_to(top[c], some[c]);
    });
  } else {
    gxnor::team_for(samples, kGrain / (size + 1) + 1, threads, [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) top[s] = gxnor::vectorised<largest>(dy + s * size, size);
    });
  }
  if (short_of_memory) return 3;
  if (!gxnor::find_scales(top.get(), count, levels, inverse.get(), scale)) return 1;
  for (int64_t i = 0; i < again; ++i) inverse[count + i] = per_channel ? inverse[i] : 0.0f;
  const Rounding rounding = {inverse.get(), size, per_channel ? channels : 0, levels, key};
  gxnor::team_for(n, kGrain, threads, [&](int64_t begin, int64_t end) {
    gxnor::vectorised<round_some>(dy, begin, end, &rounding, q);
  });
  return 0;
}
