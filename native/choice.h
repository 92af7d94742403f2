// Which kernel a convolution that has two gets: a short measurement of the machine, made once, and a count of products.
#pragma once

#include "kernels.h"

namespace gxnor {

// Whether Winograd's F(2x2, 3x3) is faster than the direct product of bits, from so many channels to outputs of this size.
// The answer may differ from one process to the next, as the machine does; results do not.
bool winograd_pays(const Kernels& kernels, Xnor xnor, int channels, int height, int width);

}  // namespace gxnor
