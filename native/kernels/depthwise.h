// Products of one channel each, whose loop compilers widen in more instructions than there are.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace gxnor {

#if defined(__x86_64__)
// sums[position][16 lanes] = sum over taps of bytes, offsets[tap] from the position on, times weights [taps][16]. The sums fit
// in 16 bits; those of lanes beyond the channels may wrap.
void depthwise_avx2(const uint8_t* const* positions, int count, const int64_t* offsets, int taps, const int16_t* weights,
                    int32_t* sums);
#endif

}  // namespace gxnor
