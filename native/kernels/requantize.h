// (multiplier * sum + offset) >> shift of blocks of 16 channels.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace gxnor {

#if defined(__x86_64__)
// sums[count][16], in place, of the first `lanes` at least. offset: [16], raised so that nothing shifted is negative; `raise`
// is what that adds to results.
void requantize_avx2(int32_t* sums, int count, int lanes, const int32_t* multiplier, const uint64_t* offset, int shift,
                     uint32_t raise);
#endif

}  // namespace gxnor
