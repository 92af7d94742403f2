// Blocks of 16 channels of some pixels as int32, whatever form they are held in.
#pragma once

#include "engine/plan.h"

namespace gxnor {

constexpr int kStrip = 64;  // positions that one block of weights, warm in the first cache, is applied to in turn

// values[pixel][16 lanes] of the block. Lanes beyond the last channel are 0, or of other channels of the buffer, within its
// bound. `pixels` point at the first channel.
void load_block(const Buffer& buffer, int block, int count, const uint8_t* const* pixels, int32_t* values);

// The same, added up over so many taps of each window, which are `taps` bytes from its first pixel. Lanes beyond the last
// channel may wrap.
void sum_block(const Buffer& buffer, int block, int count, const uint8_t* const* windows, const std::vector<int64_t>& taps,
               int32_t* sums);

// To pixels of integers, which must suit the form; not to bits.
void store_block(const Buffer& buffer, int block, int count, const int32_t* values, uint8_t* const* pixels);

}  // namespace gxnor
