// The C interface of the training kernels; gxnor/native.py repeats it. They run between PyTorch's operations, on float32
// in memory, and each computes to the bit what its reference in gxnor/nn/ or gxnor/optim/ does.
//
// Arrays of one call have n elements in the same order, unless it says otherwise; `threads` is how many may work.
#pragma once

#include <stdint.h>

#include "common/gxnor.h"

// Whether the kernels run on PyTorch's own threads (training/team.h) from now on, as they do where PyTorch has OpenMP
// threads to share, or on a pool of their own. Returns whether they do. For tests.
GXNOR_API int32_t gxnor_share_threads(int32_t share);

// Values of packed states: out[i] = the value of state i. table: [256][per_byte], the values that each packed byte stands
// for, per_byte 1, 2, 4 or 8.
GXNOR_API void gxnor_unpack(const uint8_t* packed, int32_t per_byte, const float* table, float* out, int64_t n,
                            int32_t threads);

// Levels of packed states [outputs][channels][taps] -> out[outputs][taps][channels]; the table as above. Returns 0, or 2
// where memory is short.
GXNOR_API int32_t gxnor_unpack_levels(const uint8_t* packed, int32_t per_byte, const int8_t* table, int64_t outputs,
                                      int64_t channels, int64_t taps, int8_t* out, int32_t threads);

// phi_r and its derivative window, as gxnor/nn/activation.py defines them.
struct gxnor_phi {
  float steps[64];     // t_1 <= t_2 <= ...; 0 where binary
  int32_t count;       // of steps; 0 means binary
  float height;        // d, of a step
  float half_width;    // a, of a window
  int32_t triangular;  // the windows; else rectangular
  float factor;        // d / (2a), or d / a^2 for triangles
};

// y = phi(x)
GXNOR_API void gxnor_phi_forward(const gxnor_phi* phi, const float* x, float* y, int64_t n, int32_t threads);

// dx = dy times the window at x
GXNOR_API void gxnor_phi_backward(const gxnor_phi* phi, const float* x, const float* dy, float* dx, int64_t n,
                                  int32_t threads);

// packed[ceil(n * bits / 8)]: in how many rectangular windows each x lies; bits 1, 2, 4 or 8. Returns the largest of these
// counts; packed holds nothing where that takes more bits.
GXNOR_API int32_t gxnor_phi_windows(const gxnor_phi* phi, const float* x, uint8_t* packed, int64_t n, int32_t bits,
                                    int32_t threads);

// Max-pooling of `outer` planes of height x width positions with `inner` values each: channels where these come last in
// memory, else 1.
struct gxnor_pool {
  int64_t outer, inner, height, width, out_height, out_width;
  int64_t kernel[2], stride[2], padding[2], dilation[2];
};

// x[outer][height][width][inner] -> y and place, [outer][out_height][out_width][inner]: the maximum of each window and its
// number there, row by row, at most 255. Every window has a place inside its plane.
GXNOR_API void gxnor_pool_forward(const gxnor_pool* pool, const float* x, float* y, uint8_t* place, int32_t threads);

// The gradient dx of x from dy, that of y.
GXNOR_API void gxnor_pool_backward(const gxnor_pool* pool, const float* dy, const uint8_t* place, float* dx,
                                   int32_t threads);

// Levels of a tensor, a level being the value times 4096.
struct gxnor_levels {
  int32_t bits;     // all of them, or-ed
  int32_t largest;  // magnitude
  int32_t zeros;    // whether there is one
};

// Whether every value is a multiple of 1/4096 of magnitude at most 2^18; then `found` says what the levels are.
GXNOR_API int32_t gxnor_find_levels(const float* x, int64_t n, gxnor_levels* found, int32_t threads);

// x = (index - offset) / scale for integers first <= index <= last, which take 1, 2, 4, 8 or 16 bits each. scale is a power
// of two.
struct gxnor_code {
  float scale, offset, first, last;
  int32_t bits;
};

// Whether every x has an index, to the bit; then out[ceil(n * bits / 8)] holds them, else anything.
GXNOR_API int32_t gxnor_pack_levels(const gxnor_code* code, const float* x, int64_t n, uint8_t* out, int32_t threads);

// Adam's settings for one step: w1 = 1 - beta1, w2 = 1 - beta2.
struct gxnor_adam_settings {
  float w1, beta2, w2, eps, factor;
};

// v1 += (g - v1) w1;  v2 = v2 beta2 + g^2 w2;  dW = v1 / (sqrt(v2) + eps) * factor
GXNOR_API void gxnor_adam(const gxnor_adam_settings* settings, const float* g, float* v1, float* v2, float* dW, int64_t n,
                          int32_t threads);

// dW[rows][columns] = g / (row[i] * column[j] + eps) * factor; dW may be g.
GXNOR_API void gxnor_factored(const float* g, const float* row, const float* column, int64_t rows, int64_t columns, float eps,
                              float factor, float* dW, int32_t threads);

// The transition rule of gxnor/optim/transition.py, for weights of `states` states in `bits` bits each.
struct gxnor_rule {
  int32_t bits, states;
  int32_t counter_bits;  // 0: no counters
  int32_t tanh;          // the probability; else linear
  int32_t split_zero;    // of ternary weights: zero has two codes, see gxnor/optim/counter.py
  int32_t hysteresis;    // places by which a weight is carried on that changes its state
  float step, m;         // step: from state to state
  uint64_t key;          // of the stream of draws
};

// Moves n weights and their counters (unused where they have no bits) by dW, in the units of the weights. Returns how many
// states moved, or -1 for a NaN in dW, and then nothing moved.
GXNOR_API int64_t gxnor_transition(const gxnor_rule* rule, uint8_t* packed, uint8_t* counters, const float* dW, int64_t n,
                                   int32_t threads);

// Gradients to small integers by stochastic rounding. dy[samples][positions][channels] -> q of the same shape and
// scale[samples], or [channels]:
//   scale = largest |dy| / levels,   q = floor(dy * (levels / largest |dy|) + u),   levels = 2^(bits - 1) - 1,
// u the draws of the stream with this key. What is zero, or too small for levels / |dy|, has scale 0 and q 0. bits: 2 to 8.
// Returns 1 where dy is not finite, 2 for other bits, 3 where memory is short; q and scale then hold nothing.
GXNOR_API int32_t gxnor_int_quantize(const float* dy, int64_t samples, int64_t positions, int64_t channels, int32_t bits,
                                     int32_t per_channel, uint64_t key, int8_t* q, float* scale, int32_t threads);

// A convolution of x (n, h, w, c_in) with w (c_out, kernel, kernel, c_in / groups) to (n, ho, wo, c_out); q is the gradient
// of what comes out. A dense layer has h = w = kernel = 1. Bounds: the largest size of a level, x_bound 128 for p - 128.
struct gxnor_int_conv {
  int32_t n, h, w, c_in, ho, wo, c_out;
  int32_t kernel[2], stride[2], padding[2], dilation[2];
  int32_t groups;
  int32_t x_bound, w_bound, q_bound;
};

// x (n, h, w, c_in), w [c_out][kernel][kernel][c_in / groups] -> y (n, ho, wo, c_out), the sums. Returns 0, or 1 where the
// shape is none or sums could leave 32 bits, 2 where memory is short; so do those below.
GXNOR_API int32_t gxnor_int_conv_forward(const gxnor_int_conv* conv, const int8_t* x, const int8_t* w, float* y,
                                         int32_t threads);

// q (n, ho, wo, c_out), w as above -> dx (n, h, w, c_in) = float(sum) * scale[n]. With a pool (null: none), whose windows do
// not overlap, q has a value for each of its maxima alone, which lies at `place`, as gxnor_pool_forward has it.
GXNOR_API int32_t gxnor_int_conv_input(const gxnor_int_conv* conv, const int8_t* q, const gxnor_pool* pool,
                                       const uint8_t* place, const int8_t* w, const float* scale, float* dx,
                                       int32_t threads);

// q and x as above -> dw [c_out][kernel][kernel][c_in / groups] = float(sum) * scale[c_out]
GXNOR_API int32_t gxnor_int_conv_weight(const gxnor_int_conv* conv, const int8_t* q, const gxnor_pool* pool,
                                        const uint8_t* place, const int8_t* x, const float* scale, float* dw,
                                        int32_t threads);

// A block of layers in integer arithmetic: the sums s of a convolution, or their maxima over the windows of a pooling, batch
// norm, phi. The reference is gxnor/nn/integer_block.py. `channels` floats a row, coefficients[5][channels] are
//   z = s * [0] + [1],   g = dz * phi's window at z,   dy = g * [2] + (s * [3] + [4]).

// x, w as gxnor_int_conv_forward has them -> sums and, with a pool (null: none), place as gxnor_pool_forward has it;
// totals[2] [c_out]: of all s, and of all s^2. |s| is at most 32767, the totals at most 2^53. Returns as
// gxnor_int_conv_forward.
GXNOR_API int32_t gxnor_block_sums(const gxnor_int_conv* conv, const gxnor_pool* pool, const int8_t* x, const int8_t* w,
                                   int16_t* sums, uint8_t* place, double* totals, int32_t threads);

// states[rows][channels] = phi(z) in steps from 0; binary: -1 or 1. Returns 2 where memory is short.
GXNOR_API int32_t gxnor_block_states(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, int64_t rows,
                                  int64_t channels, int8_t* states, int32_t threads);

// totals[2][channels]: of all g, and of all g * s, in double: of 256 rows one after the other, and then of all these.
// Returns 3 where memory is short.
GXNOR_API int32_t gxnor_block_reduce(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, const float* dz,
                                     int64_t rows, int64_t channels, double* totals, int32_t threads);

// gxnor_int_quantize of dy, which with a pool lies at the place of each maximum, between zeros; q[samples][positions]
// [channels] has no zeros between, but draws are numbered as if it had. `positions` are those of s.
GXNOR_API int32_t gxnor_block_round(const gxnor_phi* phi, const float* coefficients, const int16_t* sums, const float* dz,
                                    const gxnor_pool* pool, const uint8_t* place, int64_t samples, int64_t positions,
                                    int64_t channels, int32_t bits, int32_t per_channel, uint64_t key, int8_t* q,
                                    float* scale, int32_t threads);
