// What may stand between the sums of a layer and their thresholds: a requantization, and the sum with another value.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/fold.h"

namespace gxnor {

// own * y + theirs * other, where y is the sum, or (multiplier * sum + offset) >> shift in 64 bits.
struct Residual {
  std::vector<int32_t> multiplier;  // [blocks][16]; none: the sum as it is
  std::vector<uint64_t> offset;     // the same, 2^62 too large, so that nothing shifted is negative
  int shift = 0, lanes = 0;
  std::vector<Buffer> other;  // none, or the other value's
  int at = -1;                // where it is among a run's buffers
  int32_t own = 1, theirs = 0;

  void requantize(const Fold& fold, int shift, const int32_t* multiplier, const int64_t* offset);
  void add(int buffer, const Buffer& other, int32_t own, int32_t theirs);

  // sums[pixel][16 lanes] of a block, in place. `others`: the other value's pixels.
  void operator()(int block, int count, int32_t* sums, const uint8_t* const* others) const;

  int64_t bytes() const {
    return static_cast<int64_t>(sizeof *this + 12 * multiplier.size() + other.size() * sizeof(Buffer));
  }
};

}  // namespace gxnor
