// The C interface of the engine: a program described as plain data becomes a plan; a plan turns inputs into logits.
// Spelled out in gxnor/native.py; gxnor/runtime/engine.py is its one caller.
//
// A plan never changes once it is made, copies all it needs, and may be run by many threads at once.
#pragma once

#include <stdint.h>

#include "common/gxnor.h"

enum gxnor_kind {
  GXNOR_CONV,
  GXNOR_DENSE,
  GXNOR_THRESHOLD,
  GXNOR_MAX_POOL,
  GXNOR_SUM_POOL,
  GXNOR_ADD,
  GXNOR_FLATTEN,
  GXNOR_SCALE,
  GXNOR_REQUANTIZE,
  GXNOR_CONCAT,
  GXNOR_PAD,
  GXNOR_UPSAMPLE,
  GXNOR_CHANNELS,
};

enum gxnor_status {
  GXNOR_OK = 0,
  GXNOR_NO_KERNELS = 1,    // this machine lacks the instruction set that was asked for
  GXNOR_BAD_PROGRAM = 2,   // shapes, ranges or sizes do not fit each other
  GXNOR_BAD_STATE = 3,     // an input holds an index that is not a state
  GXNOR_TOO_LARGE = 4,     // beyond what the engine addresses; the reference may still run it
  GXNOR_NO_MEMORY = 5,
};

// One layer, fields as in gxnor/program/ops.py; those a kind does not have are not read. Extents are (height, width): 1-d
// programs have height 1, flat values height and width 1.
struct gxnor_layer {
  int32_t kind;
  int32_t inputs[2];
  int32_t factors[2];  // of an addition or of upsampling; requantize: the shift
  int32_t space;  // N of the weight (conv, dense) or of the output (threshold)
  int32_t out;    // output channels (conv, dense, channels); scale: logits, of all places
  int32_t groups;
  int32_t kernel[2], stride[2], padding[2], dilation[2];  // pad: zeros before in padding, after in dilation
  int32_t ceil_mode;
  // conv, dense: packed states; threshold: int32 thresholds, int8 sign; scale: float scale, bias; requantize: int32
  // multiplier, int64 offset; concat: int32 numbers of all inputs; channels: int32 order
  const void* data[2];
  int64_t sizes[2];     // bytes of each
};

struct gxnor_input {
  int32_t shape[3];
  int32_t space;  // N, or -1: pixels
};

struct gxnor_plan;

// Name of the index-th instruction set that this machine can run, fastest first; null after the last.
GXNOR_API const char* gxnor_isa(int32_t index);

// On success *plan is to be given to gxnor_plan_destroy. On failure *layer is the number of the layer at fault, from 1,
// or 0. `threads` is for the making only.
GXNOR_API int32_t gxnor_plan_create(const gxnor_input* input, const gxnor_layer* layers, int32_t count, const char* isa,
                                    int32_t kernel, int32_t threads, gxnor_plan** plan, int32_t* layer);

// x: uint8 pixels or state indices (batch, *shape); logits: float (batch, classes, height, width), the size is what the
// description says.
// `seconds`, where not null, gains what each step took, of all threads together.
GXNOR_API int32_t gxnor_plan_run(const gxnor_plan* plan, const uint8_t* x, int64_t batch, int32_t threads, float* logits,
                                 double* seconds);

// What the index-th step is; null after the last.
GXNOR_API const char* gxnor_plan_step(const gxnor_plan* plan, int32_t index);

// Bytes that the plan holds, without the scratch memory of runs.
GXNOR_API int64_t gxnor_plan_bytes(const gxnor_plan* plan);

GXNOR_API void gxnor_plan_destroy(gxnor_plan* plan);
