// What the products of a training step in small integers share: their description, memory, and how operands are laid out for
// dot8 (kernels/kernels.h).
#pragma once

#include <cstdint>
#include <memory>
#include <new>

#include "common/vectorise.h"
#include "kernels/kernels.h"
#include "training/training.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

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

constexpr int kLookupChannels = 64;                              // of a unit of lookup
constexpr int kLookupBytes = kLookupChannels / kQuad * kLanes;  // of its weights, in a block

constexpr int64_t blocks_of(int64_t channels) { return (channels + kLanes - 1) / kLanes; }
constexpr int64_t quads_of(int64_t values) { return (values + kQuad - 1) / kQuad; }

// What makes levels of this size unsigned, and how many units 16 bits then hold the products of with levels of the other
// operand; 0 where not even one.
constexpr int raised(int bound) { return 2 * bound < 255 ? 2 * bound : 255; }
constexpr int piece(int bound, int other) {
  return other > 0 && bound > 0 ? INT16_MAX / (2 * raised(bound) * other) : INT16_MAX;
}

// to[lane][4] = rows[4][lane], of all 16 lanes; compilers do not find these instructions.
GXNOR_BODY void interleave(const int8_t* const* rows, int8_t* to) {
#if defined(__SSE2__)
  const auto row = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i])); };
  const auto put = [&](int i, __m128i some) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to) + i, some); };
  const __m128i a = row(0), b = row(1), c = row(2), d = row(3);
  const __m128i ab = _mm_unpacklo_epi8(a, b), cd = _mm_unpacklo_epi8(c, d);
  const __m128i AB = _mm_unpackhi_epi8(a, b), CD = _mm_unpackhi_epi8(c, d);
  put(0, _mm_unpacklo_epi16(ab, cd));
  put(1, _mm_unpackhi_epi16(ab, cd));
  put(2, _mm_unpacklo_epi16(AB, CD));
  put(3, _mm_unpackhi_epi16(AB, CD));
#elif defined(__ARM_NEON)
  vst4q_s8(to, {{vld1q_s8(rows[0]), vld1q_s8(rows[1]), vld1q_s8(rows[2]), vld1q_s8(rows[3])}});
#else
  for (int lane = 0; lane < kLanes; ++lane)
    for (int i = 0; i < kQuad; ++i) to[kQuad * lane + i] = rows[i][lane];
#endif
}

// Of fewer lanes.
GXNOR_BODY void interleave(const int8_t* const* rows, int lanes, int8_t* to) {
  if (lanes == kLanes) return interleave(rows, to);
  const int8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
  for (int lane = 0; lane < lanes; ++lane, to += kQuad) to[0] = a[lane], to[1] = b[lane], to[2] = c[lane], to[3] = d[lane];
}

// What dot8's sums of a block begin with: -zero_point times the sums of the weights. `block` points at that place.
GXNOR_BODY void begin_block(int8_t* block, int64_t units, int zero_point) {
  using Words = Some<int16_t, 32>;
  constexpr int kWords = kUnitBytes / 32, kPiece = 128;  // units whose sums fit in 16 bits
  const int8_t* w = block + kUnitBytes;
  int32_t sums[kLanes] = {};
  for (int64_t first = 0; first < units; first += kPiece) {
    const int64_t some = units - first < kPiece ? units - first : kPiece;
    Words low[kWords] = {}, high[kWords] = {};  // of even bytes, and of odd ones
    for (int64_t u = 0; u < some; ++u, w += kUnitBytes) {
      for (int i = 0; i < kWords; ++i) {
        Words pairs;
        load(pairs, w + 32 * i);
        low[i] += pairs << 8 >> 8;
        high[i] += pairs >> 8;
      }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int i = lane / 8, at = lane % 8 * 2;
      sums[lane] += low[i][at] + low[i][at + 1] + high[i][at] + high[i][at + 1];
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) sums[lane] *= -zero_point;
  __builtin_memcpy(block, sums, sizeof sums);
}

}  // namespace gxnor
