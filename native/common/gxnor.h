// The C interface of the native library: what all parts share is here, the engine in engine/engine.h, the training kernels
// in training/training.h. Plain C types; the caller owns all memory. gxnor/native.py repeats every declaration and struct.
#pragma once

#include <stdint.h>

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

// From now on the training kernels use at most this instruction set (0 portable, 1 AVX2, 2 AVX-512). Returns the one that
// is used. For tests.
GXNOR_API int32_t gxnor_limit_isa(int32_t limit);

// Each of `size` bytes becomes the `wide` low bits of its entry in table [256], one after the other, lowest first; what is
// beyond the `out_size` bytes of `out` is dropped. wide: 8, 10 or 12; entries below 2^wide.
GXNOR_API void gxnor_repack(const uint8_t* packed, int64_t size, const uint16_t* table, int32_t wide, uint8_t* out,
                            int64_t out_size);
