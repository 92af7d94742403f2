// Gradients from the values of q that are not zero: its events. After max-pooling three quarters of q are zeros for
// certain, and rounding to a scale that few values reach makes most others so.
#pragma once

#include "training/integer_direct.h"

namespace gxnor {

// The rounded gradient of a convolution's outputs: a value for each, or for each maximum of a pool, which lies at `place`.
struct Rounded {
  const int8_t* q;
  const gxnor_pool* pool;
  const uint8_t* place;

  int64_t positions(const gxnor_int_conv& conv) const {  // of an image
    return pool ? pool->out_height * pool->out_width : int64_t{conv.ho} * conv.wo;
  }
};

int64_t count_events(const gxnor_int_conv& conv, const Rounded& rounded, int threads);

// A value for each output; null where memory is short.
Memory<int8_t> spread(const gxnor_int_conv& conv, const Rounded& rounded, int threads);

// Whether products with the events alone take less time than those of all values, of which so many are events. `saved`: how
// many times fewer products the other way has than there are pairs of values, as Winograd's.
bool suits_events(const gxnor_int_conv& conv, int64_t events, double saved);

// As gxnor_int_conv_input and gxnor_int_conv_weight, for one group.
int input_gradient_events(const gxnor_int_conv& conv, int64_t events, const Rounded& rounded, const int8_t* w,
                          const float* scale, float* dx, int threads);
int weight_gradient_events(const gxnor_int_conv& conv, int64_t events, const Rounded& rounded, const int8_t* x,
                           const float* scale, float* dw, int threads);

}  // namespace gxnor
