// Max-pools: the largest of the rows that a window sees, then of the columns.
#pragma once

#include <vector>

#include "engine/layers.h"

namespace gxnor {

// Channels with a bit in `flips` (16 a word, or none at all) are negated afterwards.
class MaxPoolStep : public Step {
 public:
  MaxPoolStep(int input, int output, int channels, const PoolWindow& window, const std::vector<uint16_t>& flips);
  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "max-pool"; }

 private:
  // What of a window's taps along an axis lies inside, and where the first of these is.
  struct Seen {
    int64_t first, count;
  };
  Seen see(int axis, int64_t at, int64_t extent) const;

  void bits(const Buffer& in, const Buffer& out, const uint8_t* from, Seen rows, uint64_t* largest, uint8_t* to) const;
  void levels(const Buffer& in, const Buffer& out, const uint8_t* from, Seen rows, int8_t* largest, uint8_t* to) const;
  void integers(const Buffer& in, const Buffer& out, const uint8_t* from, Seen rows, int32_t* largest, uint8_t* to) const;

  const int input_, output_;
  const PoolWindow window_;
  std::vector<uint8_t> flips_;  // 8 channels a byte
  std::vector<int8_t> minus_;   // the same, -1 or 0 a channel
};

}  // namespace gxnor
