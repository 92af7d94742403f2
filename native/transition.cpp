// One discrete state transition of a packed weight, in place; the reference is gxnor/optim/transition.py, the draws are
// those of gxnor/optim/stream.py.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "gxnor.h"
#include "threads.h"
#include "vectorise.h"

namespace {

constexpr int kBlock = 256;               // weights at a time: what lies between two loops over a block stays in cache
constexpr int64_t kGrain = 64 * kBlock;   // weights

struct Rule {
  int states;
  float step, m;
  bool tanh;
  uint64_t key;
};

GXNOR_BODY void uniform_block(uint64_t key, int64_t first, float* u) {
  for (int i = 0; i < kBlock; ++i) {
    uint64_t z = key + static_cast<uint64_t>(first + i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    u[i] = static_cast<float>(static_cast<int32_t>((z ^ (z >> 31)) >> 40)) * 0x1p-24f;
  }
}

// State indices of a block; a word of 32 bits at a time.
template <int kBits>
GXNOR_BODY void unpack_block(const uint8_t* packed, int32_t* at) {
  constexpr int kPerWord = 32 / kBits;
  for (int w = 0; w < kBlock / kPerWord; ++w, packed += 4) {
    const uint32_t word = packed[0] | packed[1] << 8 | packed[2] << 16 | static_cast<uint32_t>(packed[3]) << 24;
    for (int i = 0; i < kPerWord; ++i) {
      at[w * kPerWord + i] = static_cast<int32_t>(word >> (i * kBits) & ((1u << kBits) - 1));
    }
  }
}

template <int kBits>
GXNOR_BODY void pack_block(const int32_t* at, uint8_t* packed) {
  constexpr int kPerWord = 32 / kBits;
  for (int w = 0; w < kBlock / kPerWord; ++w, packed += 4) {
    uint32_t word = 0;
    for (int i = 0; i < kPerWord; ++i) word |= static_cast<uint32_t>(at[w * kPerWord + i]) << (i * kBits);
    for (int b = 0; b < 4; ++b) packed[b] = static_cast<uint8_t>(word >> (8 * b));
  }
}

// Where the states `at` move to; returns how many move.
//
// Nearly all draws against tanh are settled by two neighbouring convergents of its continued fraction (Lambert), one
// below it and one above, with room for rounding:
//   y (105 + 10 y^2) / (105 + 45 y^2 + y^4)  <=  tanh(y)  <=  y (15 + y^2) / (15 + 6 y^2)
template <bool kTanh>
GXNOR_BODY int move_block(const int32_t* at, const float* dW, const float* u, const Rule& rule, int32_t* to) {
  constexpr float kAbove = 1.0f + 1e-5f, kBelow = 1.0f - 1e-5f, kFinite = 16.0f;
  const float top = static_cast<float>(rule.states - 1);
  int32_t sign[kBlock], open[kBlock];
  float y[kBlock];
  int opened = 0;
  for (int i = 0; i < kBlock; ++i) {
    const float from = static_cast<float>(at[i]);
    const float wish = dW[i] / rule.step;
    const float low = wish < -from ? -from : wish;
    const float rho = low > top - from ? top - from : low;
    const int kappa = static_cast<int>(rho);
    const float nu = rho - static_cast<float>(kappa);
    const float p = rule.m * std::fabs(nu), q = p * p;
    const int32_t below = kTanh ? u[i] * ((q + 45.0f) * q + 105.0f) * kAbove < (10.0f * q + 105.0f) * p : u[i] < p;
    const int32_t above = kTanh ? (u[i] * (6.0f * q + 15.0f) * kBelow >= (q + 15.0f) * p) & (p < kFinite) : u[i] >= p;
    y[i] = p;
    sign[i] = (nu > 0.0f) - (nu < 0.0f);
    to[i] = at[i] + kappa + below * sign[i];
    open[i] = (below | above) ^ 1;
    opened += open[i];
  }
  for (int i = 0; opened > 0; ++i) {
    if (!open[i]) continue;
    --opened;
    if (static_cast<double>(u[i]) < std::tanh(static_cast<double>(y[i]))) to[i] += sign[i];
  }
  int moved = 0;
  for (int i = 0; i < kBlock; ++i) moved += to[i] != at[i];
  return moved;
}

// Weights begin..end, begin a multiple of kBlock.
template <int kBits, bool kTanh>
GXNOR_BODY int64_t move_weights(uint8_t* packed, const float* dW, int64_t begin, int64_t end, const Rule* rule) {
  constexpr int kBytes = kBlock * kBits / 8;
  int64_t moved = 0;
  float u[kBlock];
  int32_t at[kBlock], to[kBlock];
  for (int64_t first = begin; first < end; first += kBlock) {
    uint8_t* bytes = packed + first * kBits / 8;
    uniform_block(rule->key, first, u);
    if (end - first >= kBlock) {
      unpack_block<kBits>(bytes, at);
      moved += move_block<kTanh>(at, dW + first, u, *rule, to);
      pack_block<kBits>(to, bytes);
      continue;
    }
    uint8_t padded[kBytes] = {};  // the last block: weights that are not there have no increment and stay in state 0
    float increment[kBlock] = {};
    const int64_t used = ((end - first) * kBits + 7) / 8;
    std::memcpy(padded, bytes, used);
    std::memcpy(increment, dW + first, (end - first) * sizeof(float));
    unpack_block<kBits>(padded, at);
    moved += move_block<kTanh>(at, increment, u, *rule, to);
    pack_block<kBits>(to, padded);
    std::memcpy(bytes, padded, used);
  }
  return moved;
}

GXNOR_BODY bool any_nan(const float* x, int64_t n) {
  int found = 0;
  for (int64_t i = 0; i < n; ++i) found |= x[i] != x[i];
  return found != 0;
}

template <int kBits>
int64_t move(uint8_t* packed, const float* dW, int64_t begin, int64_t end, const Rule* rule) {
  return rule->tanh ? gxnor::vectorised<move_weights<kBits, true>>(packed, dW, begin, end, rule)
                    : gxnor::vectorised<move_weights<kBits, false>>(packed, dW, begin, end, rule);
}

}  // namespace

// n weights of `bits` bits each; dW in the units of the weights. Returns how many moved, or -1 for a NaN in dW.
GXNOR_API int64_t gxnor_transition(uint8_t* packed, int bits, int states, const float* dW, int64_t n, float step, float m,
                                   int tanh, uint64_t key, int threads) {
  const Rule rule{states, step, m, tanh != 0, key};
  if (gxnor::vectorised<any_nan>(dW, n)) return -1;  // looked for first, so that a refused call moves nothing
  const auto move_some = bits == 1 ? move<1> : bits == 2 ? move<2> : bits == 4 ? move<4> : move<8>;
  std::atomic<int64_t> moved{0};
  gxnor::parallel_for(n, kGrain, threads, [&](int64_t begin, int64_t end) {
    moved += move_some(packed, dW, begin, end, &rule);
  });
  return moved;
}
