// Gradients of weights in small integers.
#pragma once

#include "training/integer_events.h"

namespace gxnor {

// dw [c_out][kernel][kernel][c_in / groups] = float(sum) * scale[c_out]
int weight_gradient(const gxnor_int_conv& conv, const int8_t* q, const int8_t* x, const float* scale, float* dw,
                    int threads);

// The same for 3x3 kernels, where this suits.
bool suits_weight_winograd(const gxnor_int_conv& conv);
int weight_gradient_winograd(const gxnor_int_conv& conv, const int8_t* q, const int8_t* x, const float* scale, float* dw,
                             int threads);

// The same for few input channels.
bool suits_weight_narrow(const gxnor_int_conv& conv);
int weight_gradient_narrow(const gxnor_int_conv& conv, const Rounded& rounded, const int8_t* x, const float* scale,
                           float* dw, int threads);

}  // namespace gxnor
