// One discrete state transition of a packed weight, in place; the reference is gxnor/optim/transition.py, the draws are
// those of gxnor/optim/stream.py.
#include <atomic>
#include <cmath>
#include <cstdint>

#include "gxnor.h"
#include "threads.h"

namespace {

constexpr int64_t kGrainBytes = 1 << 13;

struct Rule {
  int states;
  float step, m;
  bool tanh;
  uint64_t key;
};

inline float uniform(uint64_t key, uint64_t i) {
  uint64_t z = key + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<float>((z ^ (z >> 31)) >> 40) * 0x1p-24f;
}

// tanh(y) <= y, so most draws are settled without it.
inline bool moves(float u, float y, bool tanh) { return u < y && (!tanh || u < std::tanh(static_cast<double>(y))); }

template <int kBits>
int64_t move_bytes(uint8_t* packed, const float* dW, int64_t n, int64_t begin, int64_t end, const Rule& rule) {
  constexpr int kPerByte = 8 / kBits;
  constexpr unsigned kMask = (1u << kBits) - 1;
  int64_t moved = 0;
  for (int64_t b = begin; b < end; ++b) {
    const unsigned in = packed[b];
    unsigned out = 0;
    for (int j = 0; j < kPerByte; ++j) {
      const int64_t i = b * kPerByte + j;
      if (i >= n) break;
      const int at = static_cast<int>((in >> (j * kBits)) & kMask);
      const float down = static_cast<float>(-at), up = static_cast<float>(rule.states - 1 - at);
      const float wish = dW[i] / rule.step;
      const float rho = wish < down ? down : wish > up ? up : wish;
      const int kappa = static_cast<int>(rho);
      const float nu = rho - static_cast<float>(kappa);
      const bool one_more = moves(uniform(rule.key, static_cast<uint64_t>(i)), rule.m * std::fabs(nu), rule.tanh);
      const int to = at + kappa + (one_more ? (nu > 0.0f ? 1 : -1) : 0);
      moved += to != at;
      out |= static_cast<unsigned>(to) << (j * kBits);
    }
    packed[b] = static_cast<uint8_t>(out);
  }
  return moved;
}

}  // namespace

// n weights of `bits` bits each; dW in the units of the weights. Returns how many moved, or -1 for a NaN in dW.
GXNOR_API int64_t gxnor_transition(uint8_t* packed, int bits, int states, const float* dW, int64_t n, float step, float m,
                                   int tanh, uint64_t key, int threads) {
  const Rule rule{states, step, m, tanh != 0, key};
  const int64_t bytes = (n * bits + 7) / 8;
  bool nan = false;  // looked for first, so that a refused call moves nothing
  for (int64_t i = 0; i < n; ++i) nan |= dW[i] != dW[i];
  if (nan) return -1;
  std::atomic<int64_t> moved{0};
  gxnor::parallel_for(bytes, kGrainBytes, threads, [&](int64_t begin, int64_t end) {
    int64_t here = 0;
    switch (bits) {
      case 1: here = move_bytes<1>(packed, dW, n, begin, end, rule); break;
      case 2: here = move_bytes<2>(packed, dW, n, begin, end, rule); break;
      case 4: here = move_bytes<4>(packed, dW, n, begin, end, rule); break;
      default: here = move_bytes<8>(packed, dW, n, begin, end, rule); break;
    }
    moved += here;
  });
  return moved;
}
