// The C interface of the native library. Plain C types; the caller owns all memory.
#pragma once

#define GXNOR_API extern "C" __attribute__((visibility("default")))
