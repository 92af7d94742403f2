// What the products of a training step in small integers share: their description, memory, and how operands are laid out for
// dot8 (kernels/kernels.h).
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "common/gxnor.h"
#include "common/vectorise.h"
#include "kernels/kernels.h"

// A convolution of x (n, h, w, c_in) with w (c_out, kernel, kernel, c_in / groups) to (n, ho, wo, c_out); q is the gradient
// of what comes out. A dense layer has h = w = kernel = 1. Bounds: the largest size of a level, x_bound 128 for p - 128.
struct gxnor_int_conv {
  int32_t n, h, w, c_in, ho, wo, c_out;
  int32_t kernel[2], stride[2], padding[2], dilation[2];
  int32_t groups;
  int32_t x_bound, w_bound, q_bound;
};

namespace gxnor {

enum { kDone, kUnsupported, kNoMemory };  // what the products return

// Not zeroed. Null where memory is short: what runs on PyTorch's threads must not throw.
template <typename T>
struct Memory {
  std::unique_ptr<T, void (*)(T*)> owner;

  explicit Memory(int64_t count)
      : owner(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T), std::align_val_t(64), std::nothrow)),
              [](T* p) { ::operator delete(p, std::align_val_t(64)); }) {}
  T* get() const { return owner.get(); }
  explicit operator bool() const { return owner != nullptr; }
};

// The fastest kernels, or those of the instruction set that a test has set.
const Kernels& training_kernels();

constexpr int kQuad = 4;
constexpr int kUnitBytes = kQuad * kLanes;  // of a unit of a block of dot8's weights

constexpr int64_t blocks_of(int64_t channels) { return (channels + kLanes - 1) / kLanes; }
constexpr int64_t quads_of(int64_t values) { return (values + kQuad - 1) / kQuad; }

// What makes levels of this size unsigned, and how many units 16 bits then hold the products of with levels of the other
// operand; 0 where not even one.
constexpr int raised(int bound) { return 2 * bound < 255 ? 2 * bound : 255; }
constexpr int piece(int bound, int other) { return other > 0 && bound > 0 ? INT16_MAX / (2 * raised(bound) * other) : INT16_MAX; }

// to[lane][4] = rows[4][lane].
GXNOR_BODY void interleave(const int8_t* const* rows, int lanes, int8_t* to) {
  const int8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
  for (int lane = 0; lane < lanes; ++lane, to += kQuad) to[0] = a[lane], to[1] = b[lane], to[2] = c[lane], to[3] = d[lane];
}

// What dot8's sums of a block begin with: -zero_point times the sums of the weights. `block` points at that place.
GXNOR_BODY void begin_block(int8_t* block, int64_t units, int zero_point) {
  constexpr int kPairs = kUnitBytes / 2, kPiece = 128;  // units whose sums fit in 16 bits
  const int8_t* w = block + kUnitBytes;
  int32_t sums[kLanes] = {};
  for (int64_t first = 0; first < units; first += kPiece) {
    const int64_t some = units - first < kPiece ? units - first : kPiece;
    int16_t low[kPairs] = {}, high[kPairs] = {};
    for (int64_t u = 0; u < some; ++u, w += kUnitBytes) {
      int16_t pairs[kPairs];
      __builtin_memcpy(pairs, w, sizeof pairs);
      for (int i = 0; i < kPairs; ++i) {
        low[i] = static_cast<int16_t>(low[i] + (static_cast<int16_t>(static_cast<uint16_t>(pairs[i]) << 8) >> 8));
        high[i] = static_cast<int16_t>(high[i] + (pairs[i] >> 8));
      }
    }
    for (int lane = 0; lane < kLanes; ++lane)
      sums[lane] += low[2 * lane] + low[2 * lane + 1] + high[2 * lane] + high[2 * lane + 1];
  }
  for (int lane = 0; lane < kLanes; ++lane) sums[lane] *= -zero_point;
  __builtin_memcpy(block, sums, sizeof sums);
}

}  // namespace gxnor
