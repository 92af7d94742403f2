// The C interface of the native library. Plain C types; the caller owns all memory.
#pragma once

#define GXNOR_API extern "C" __attribute__((visibility("default")))

// How convolutions are computed that can be computed in several ways; the results are the same.
enum gxnor_kernel {
  GXNOR_CHOOSE,  // what a short measurement finds faster
  GXNOR_DIRECT,
  GXNOR_WINOGRAD2,      // by Winograd's F(2x2, 3x3) where it suits, else directly
  GXNOR_WINOGRAD4,      // F(4x4, 3x3)
  GXNOR_WINOGRAD2_FIP,  // the same two by fast inner products, where the instruction set has them
  GXNOR_WINOGRAD4_FIP,
};
