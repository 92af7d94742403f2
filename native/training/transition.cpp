// One discrete state transition of a packed weight, in place; the reference is gxnor/optim/transition.py, the draws are
// those of gxnor/nn/stream.py.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/vectorise.h"
#include "training/stream.h"
#include "training/team.h"
#include "training/training.h"

namespace {

constexpr int kBlock = 256;               // weights at a time: what lies between two loops over a block stays in cache
constexpr int64_t kGrain = 64 * kBlock;   // weights

struct Rule {
  int first, last;   // places that stay inside
  int bits;          // of a counter, which is the place within a state
  float step, m;     // from place to place
  bool tanh;
  bool split_zero;   // into a lower and an upper half, codes 1 and 3
  int hysteresis;    // places
  uint64_t key;
};

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

// Codes of ternary states, with zero split or not, to what they are counted by: cells from the lowest to the highest.
GXNOR_BODY void cells_of(bool split_zero, int32_t* code) {
  for (int i = 0; i < kBlock; ++i) code[i] = split_zero ? code[i] ^ code[i] >> 1 : code[i] == 3 ? 1 : code[i];
}

// Eight counters to as many bytes as a counter has bits; `at` becomes the place.
GXNOR_BODY void unpack_counters(const uint8_t* counters, int bits, int32_t* at) {
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  for (int e = 0; e < kBlock / 8; ++e, counters += bits) {
    uint64_t word = 0;
    for (int b = 0; b < bits; ++b) word |= static_cast<uint64_t>(counters[b]) << (8 * b);
    for (int i = 0; i < 8; ++i) {
      const uint32_t counter = static_cast<uint32_t>(word >> (i * bits) & mask);
      at[8 * e + i] = static_cast<int32_t>(static_cast<uint32_t>(at[8 * e + i]) << bits | counter);
    }
  }
}

// Counters of the places `to`, which become states.
GXNOR_BODY void pack_counters(int32_t* to, int bits, uint8_t* counters) {
  const uint32_t mask = (1u << bits) - 1;
  for (int e = 0; e < kBlock / 8; ++e, counters += bits) {
    uint64_t word = 0;
    for (int i = 0; i < 8; ++i) {
      const uint32_t place = static_cast<uint32_t>(to[8 * e + i]);
      word |= static_cast<uint64_t>(place & mask) << (i * bits);
      to[8 * e + i] = static_cast<int32_t>(place >> bits);
    }
    for (int b = 0; b < bits; ++b) counters[b] = static_cast<uint8_t>(word >> (8 * b));
  }
}

// Where the places `at` move to.
//
// Nearly all draws against tanh are settled by two neighbouring convergents of its continued fraction (Lambert), one
// below it and one above, with room for rounding:
//   y (105 + 10 y^2) / (105 + 45 y^2 + y^4)  <=  tanh(y)  <=  y (15 + y^2) / (15 + 6 y^2)
template <bool kTanh>
GXNOR_BODY void move_block(const int32_t* at, const float* dW, const float* u, const Rule& rule, int32_t* to) {
  constexpr float kAbove = 1.0f + 1e-5f, kBelow = 1.0f - 1e-5f, kFinite = 16.0f;
  const float bottom = static_cast<float>(rule.first), top = static_cast<float>(rule.last);
  int32_t sign[kBlock], open[kBlock];
  float y[kBlock];
  int opened = 0;
  for (int i = 0; i < kBlock; ++i) {
    const float from = static_cast<float>(at[i]);
    const float wish = dW[i] / rule.step;
    const float low = wish < bottom - from ? bottom - from : wish;
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
}

// The state of a cell: from one half of a split zero to the other is no move.
GXNOR_BODY int32_t state_of(int32_t cell, bool split_zero) { return split_zero ? (cell + 1) >> 1 : cell; }

// Carries the places of weights that change their state, in `before`, on in their direction.
GXNOR_BODY void carry_block(const int32_t* before, const int32_t* at, const Rule& rule, int32_t* to) {
  for (int i = 0; i < kBlock; ++i) {
    const int32_t moved = state_of(to[i] >> rule.bits, rule.split_zero) != state_of(before[i], rule.split_zero);
    const int32_t carried = to[i] + moved * (to[i] > at[i] ? rule.hysteresis : -rule.hysteresis);
    to[i] = carried < rule.first ? rule.first : carried > rule.last ? rule.last : carried;
  }
}

// One transition of a block; returns how many states move.
template <int kBits, bool kTanh>
GXNOR_BODY int transition_block(uint8_t* packed, uint8_t* counters, const float* dW, const float* u, const Rule& rule) {
  int32_t before[kBlock], at[kBlock], to[kBlock];
  unpack_block<kBits>(packed, before);
  if (kBits == 2) cells_of(rule.split_zero, before);
  for (int i = 0; i < kBlock; ++i) at[i] = before[i];
  if (rule.bits == 4)  // a constant: shifts by it are vectorised
    unpack_counters(counters, 4, at);
  else if (rule.bits)
    unpack_counters(counters, rule.bits, at);
  move_block<kTanh>(at, dW, u, rule, to);
  if (rule.hysteresis) carry_block(before, at, rule, to);
  if (rule.bits == 4)
    pack_counters(to, 4, counters);
  else if (rule.bits)
    pack_counters(to, rule.bits, counters);
  int moved = 0;
  for (int i = 0; i < kBlock; ++i) moved += state_of(to[i], rule.split_zero) != state_of(before[i], rule.split_zero);
  if (rule.split_zero) {
    for (int i = 0; i < kBlock; ++i) to[i] ^= to[i] >> 1;
  }
  pack_block<kBits>(to, packed);
  return moved;
}

// Weights begin..end, begin a multiple of kBlock.
template <int kBits, bool kTanh>
GXNOR_BODY int64_t move_weights(uint8_t* packed, uint8_t* counters, const float* dW, int64_t begin, int64_t end,
                                const Rule* rule) {
  constexpr int kBytes = kBlock * kBits / 8;
  int64_t moved = 0;
  float u[kBlock];
  for (int64_t first = begin; first < end; first += kBlock) {
    uint8_t* bytes = packed + first * kBits / 8;
    uint8_t* places = counters + first / 8 * rule->bits;
    gxnor::uniform_block<kBlock>(rule->key, first, u);
    if (end - first >= kBlock) {
      moved += transition_block<kBits, kTanh>(bytes, places, dW + first, u, *rule);
      continue;
    }
    // The last block is filled up with weights that have no increment; where they end is not kept.
    uint8_t padded[kBytes] = {}, padded_places[kBlock] = {};
    float increment[kBlock] = {};
    const int64_t used = ((end - first) * kBits + 7) / 8, used_places = (end - first + 7) / 8 * rule->bits;
    std::memcpy(padded, bytes, used);
    if (used_places) std::memcpy(padded_places, places, used_places);
    std::memcpy(increment, dW + first, (end - first) * sizeof(float));
    moved += transition_block<kBits, kTanh>(padded, padded_places, increment, u, *rule);
    std::memcpy(bytes, padded, used);
    if (used_places) std::memcpy(places, padded_places, used_places);
  }
  return moved;
}

GXNOR_BODY bool any_nan(const float* x, int64_t n) {
  int found = 0;
  for (int64_t i = 0; i < n; ++i) found |= x[i] != x[i];
  return found != 0;
}

template <int kBits>
int64_t move(uint8_t* packed, uint8_t* counters, const float* dW, int64_t begin, int64_t end, const Rule* rule) {
  return rule->tanh ? gxnor::vectorised<move_weights<kBits, true>>(packed, counters, dW, begin, end, rule)
                    : gxnor::vectorised<move_weights<kBits, false>>(packed, counters, dW, begin, end, rule);
}

}  // namespace

int64_t gxnor_transition(const gxnor_rule* given, uint8_t* packed, uint8_t* counters, const float* dW, int64_t n,
                         int32_t threads) {
  const auto& [bits, states, counter_bits, tanh, split_zero, hysteresis, step, m, key] = *given;
  const int half = split_zero ? 0 : (1 << counter_bits) / 2, cells = split_zero ? 4 : states;
  const Rule rule{half, (cells << counter_bits) - 1 - half, counter_bits, std::ldexp(step, -counter_bits - (split_zero != 0)),
                  m, tanh != 0, split_zero != 0, hysteresis, key};
  if (gxnor::vectorised<any_nan>(dW, n)) return -1;  // looked for first, so that a refused call moves nothing
  const auto move_some = bits == 1 ? move<1> : bits == 2 ? move<2> : bits == 4 ? move<4> : move<8>;
  std::atomic<int64_t> moved{0};
  gxnor::team_for(n, kGrain, threads, [&](int64_t begin, int64_t end) {
    moved += move_some(packed, counters, dW, begin, end, &rule);
  });
  return moved;
}
