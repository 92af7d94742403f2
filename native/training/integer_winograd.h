// Convolutions 3x3 of small integers by Winograd's F(M x M, 3x3) of the engine (engine/winograd.h).
#pragma once

#include "training/integer_direct.h"

namespace gxnor {

// The kernel that is expected to be the fastest; GXNOR_DIRECT where none of Winograd's suits, or where that is `correlate`.
gxnor_kernel fastest_kernel(const Correlation& of);

// As `correlate`, from the weights as they come: forward ones, or backward ones as in `backward_panels`.
int correlate_winograd(const Correlation& of, gxnor_kernel kernel, const int8_t* x, const int8_t* w, bool backward,
                       const float* scale, float* y, int threads, const Take* take = nullptr);

}  // namespace gxnor
