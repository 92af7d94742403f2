#include "engine/residual.h"

#include "common/vectorise.h"
#include "engine/blocks.h"
#include "kernels/requantize.h"

namespace gxnor {
namespace {

constexpr uint64_t kRaise = uint64_t{1} << 62;

// Of signed 64 bits AVX2 has no shift (requantize_avx2): raised, nothing is negative, and what is returned is right in its
// lowest 32 bits.
void requantize_all(int32_t* sums, int count, const int32_t* multiplier, const uint64_t* offset, int shift,
                    uint32_t raise) {
  for (int p = 0; p < count; ++p, sums += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t product = int64_t{multiplier[lane]} * sums[lane];
      sums[lane] =
          static_cast<int32_t>(static_cast<uint32_t>((static_cast<uint64_t>(product) + offset[lane]) >> shift) - raise);
    }
}

void requantized(int32_t* sums, int count, [[maybe_unused]] int lanes, const int32_t* multiplier, const uint64_t* offset, int shift) {
  const uint32_t raise = static_cast<uint32_t>(kRaise >> shift);
#if defined(__x86_64__)
  if (isa.load(std::memory_order_relaxed) >= kAvx2)
    return requantize_avx2(sums, count, lanes, multiplier, offset, shift, raise);
#endif
  requantize_all(sums, count, multiplier, offset, shift, raise);
}

GXNOR_BODY void add_all(int32_t* sums, int count, const int32_t* others, int32_t own, int32_t theirs) {
  for (int i = 0; i < count * kLanes; ++i)  // lanes beyond the channels may wrap
    sums[i] = static_cast<int32_t>(static_cast<uint32_t>(own) * static_cast<uint32_t>(sums[i]) +
                                   static_cast<uint32_t>(theirs) * static_cast<uint32_t>(others[i]));
}

}  // namespace

void Residual::requantize(const Fold& fold, int shift, const int32_t* multiplier, const int64_t* offset) {
  this->shift = shift;
  lanes = fold.lanes();
  this->multiplier.resize(divide_up(lanes, kLanes) * kLanes);
  this->offset.resize(this->multiplier.size(), kRaise);
  for (int lane = 0; lane < lanes; ++lane) {
    const int c = fold.channel(lane);
    if (c < 0) continue;
    this->multiplier[lane] = multiplier[c];
    this->offset[lane] += static_cast<uint64_t>(offset[c]);
  }
}

void Residual::add(int buffer, const Buffer& other, int32_t own, int32_t theirs) {
  at = buffer;
  this->other = {other};
  this->own = own;
  this->theirs = theirs;
}

void Residual::operator()(int block, int count, int32_t* sums, const uint8_t* const* others) const {
  if (!multiplier.empty())
    requantized(sums, count, lanes - block * kLanes, multiplier.data() + block * kLanes, offset.data() + block * kLanes, shift);
  if (other.empty()) return;
  int32_t values[kStrip * kLanes];
  for (int first = 0; first < count; first += kStrip, sums += kStrip * kLanes) {
    const int some = count - first < kStrip ? count - first : kStrip;
    load_block(other[0], block, some, others + first, values);
    vectorised<add_all>(sums, some, values, own, theirs);
  }
}

}  // namespace gxnor
