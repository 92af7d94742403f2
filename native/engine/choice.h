// Which kernel a convolution that has several gets: a short measurement of the machine, made once, and a count of products.
#pragma once

#include "engine/plan.h"

namespace gxnor {

// What the products of a convolution, from so many channels to outputs of this size, take, in some unit of time of this
// process: those of bits or bytes, and those of one of Winograd's kernels for a 3x3 convolution. Measured with ternary states:
// where 16 bits hold sums, larger ones take somewhat longer. What is measured may differ from one process to the next, as the
// machine does; results do not.
double direct_cost(const Kernels& kernels, Form form, Xnor xnor, int channels, int height, int width);
double winograd_cost(const Kernels& kernels, gxnor_kernel kernel, int channels, int height, int width);
// What a thread of a run spends besides, however few the images: the weights expanded for a strip of tiles (winograd.h).
double expand_cost(const Kernels& kernels, gxnor_kernel kernel, int channels);

}  // namespace gxnor
