// Which kernel a convolution that has several gets: a short measurement of the machine, made once, and a count of products.
#pragma once

#include "kernels.h"

namespace gxnor {

// What the products of a convolution, from so many channels to outputs of this size, take, in some unit of time of this
// process: those of bits, and those of Winograd's F(M x M, 3x3) for a 3x3 kernel. What is measured may differ from one
// process to the next, as the machine does; results do not.
double direct_cost(const Kernels& kernels, Xnor xnor, int channels, int height, int width);
template <int M>
double winograd_cost(const Kernels& kernels, int channels, int height, int width);
// What a thread of a run spends besides, however few the images: the weights expanded for a strip of tiles (winograd.h).
template <int M>
double expand_cost(const Kernels& kernels, int channels);

}  // namespace gxnor
