// Which kernel a convolution that has several gets: short measurements of the machine, made once, and a count of products.
#pragma once

#include "engine/convolution.h"
#include "engine/values.h"

namespace gxnor {

// What a 3x3 convolution, from so many channels to so many outputs of this size, takes by products of bits or bytes, in
// seconds of an image. Measured with ternary states and as many channels, but at most 128: where 16 bits hold sums, larger
// states take somewhat longer. What is measured may differ from one process to the next, as the machine does; results do
// not. `pixels`: of a row that are computed as one (Fold); outputs and width are those then.
double direct_cost(const Kernels& kernels, Form form, Xnor xnor, int channels, int outputs, int height, int width,
                   int pixels);

// The same by one of Winograd's kernels.
struct WinogradCost {
  double image;
  double expand;  // what a thread of a run spends besides, however few the images: the weights expanded (winograd.h)
};
WinogradCost winograd_cost(const Kernels& kernels, gxnor_kernel kernel, int channels, int outputs, int height, int width);

struct Choice {
  gxnor_kernel kernel = GXNOR_DIRECT;
  double direct_below = 0;  // images a thread: with fewer the direct product is faster
};

// That of a convolution of states of at most `top`, with weights of Z_`space`, whose direct product is of this `xnor` and
// `fold`. `wanted`: the kernel that it gets where that suits, or GXNOR_CHOOSE.
Choice choose(const Kernels& kernels, int wanted, const Buffer& input, int top, const Geometry& geometry, int space,
              const Value& output, Xnor xnor, const Fold& fold);

}  // namespace gxnor
