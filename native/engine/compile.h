// From the description of a program to a plan.
#pragma once

#include <memory>

#include "engine/plan.h"

namespace gxnor {

// Throws Failure; `layer` is then the number of the layer at fault, or 0.
std::unique_ptr<gxnor_plan> compile(const gxnor_input& input, const gxnor_layer* layers, int count,
                                    const Kernels& kernels, int kernel, int threads, int32_t& layer);

}  // namespace gxnor
