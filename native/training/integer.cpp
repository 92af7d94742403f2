// The C interface of the products of a training step in small integers; the reference is gxnor/nn/integer.py.
#include "training/integer.h"

#include <initializer_list>

#include "common/vectorise.h"
#include "training/integer_direct.h"
#include "training/integer_events.h"
#include "training/integer_rows.h"
#include "training/integer_weight.h"
#include "training/integer_winograd.h"

namespace gxnor {

const Kernels& training_kernels() {
#if defined(__x86_64__)
  const int chosen = isa.load(std::memory_order_relaxed);
  if (chosen == kPortable) return *find_kernels("portable");
  if (chosen == kAvx2) {
    const Kernels* const vnni = find_kernels("avxvnni");
    return vnni ? *vnni : *find_kernels("avx2");
  }
#endif
  return *find_kernels(nullptr);
}

namespace {

// How many times fewer products Winograd's way has.
constexpr double kSaved = 2.25;

// Whether sums of so many products of levels stay in int32, and those of two in 16 bits.
bool fits(int64_t count, int64_t bound, int64_t other) {
  return piece(static_cast<int>(bound), static_cast<int>(other)) > 0 &&
         (!bound || !other || count <= INT32_MAX / (bound * other));
}

bool is_shape(const gxnor_int_conv& c) {
  if (c.n < 1 || c.h < 1 || c.w < 1 || c.c_in < 1 || c.ho < 1 || c.wo < 1 || c.c_out < 1 || c.groups < 1) return false;
  if (c.c_in % c.groups || c.c_out % c.groups) return false;
  for (const int32_t bound : {c.x_bound, c.w_bound, c.q_bound})
    if (bound < 0 || bound > 128) return false;
  for (int axis = 0; axis < 2; ++axis) {
    if (c.kernel[axis] < 1 || c.stride[axis] < 1 || c.padding[axis] < 0 || c.dilation[axis] < 1) return false;
    const int64_t free =
        int64_t{axis ? c.w : c.h} + int64_t{2} * c.padding[axis] - int64_t{c.dilation[axis]} * (c.kernel[axis] - 1) - 1;
    if (free < 0 || free / c.stride[axis] + 1 != (axis ? c.wo : c.ho)) return false;
  }
  return true;
}

// Whether the pool is one of the convolution's outputs.
bool suits(const gxnor_int_conv& c, const gxnor_pool* pool) {
  return !pool || (pool->outer == c.n && pool->height == c.ho && pool->width == c.wo && pool->inner == c.c_out &&
                   pool->kernel[0] * pool->kernel[1] <= 256);
}

}  // namespace

Correlation forward_correlation(const gxnor_int_conv& c) {
  return {c.n, {c.h, c.w}, c.c_in, {c.ho, c.wo}, c.c_out, {c.kernel[0], c.kernel[1]}, {1, 1}, {c.padding[0], c.padding[1]},
          {c.stride[0], c.stride[1]}, {c.dilation[0], c.dilation[1]}, c.groups, c.x_bound, c.w_bound};
}

int forward(const gxnor_int_conv& c, const int8_t* x, const int8_t* w, float* y, int threads, const Take* take) {
  if (!is_shape(c)) return kUnsupported;
  if (!fits(int64_t{c.c_in / c.groups} * c.kernel[0] * c.kernel[1], c.x_bound, c.w_bound)) return kUnsupported;
  const Correlation of = forward_correlation(c);
  const gxnor_kernel kernel = fastest_kernel(of);
  if (kernel != GXNOR_DIRECT) return correlate_winograd(of, kernel, x, w, false, nullptr, y, threads, take);
  const Panels panels = suits_lookup(of) ? lookup_panels(of, w, threads) : forward_panels(of, w, threads);
  return correlate(of, x, panels, nullptr, y, threads, take);
}

}  // namespace gxnor

int32_t gxnor_int_conv_forward(const gxnor_int_conv* conv, const int8_t* x, const int8_t* w, float* y, int32_t threads) {
  return gxnor::forward(*conv, x, w, y, threads, nullptr);
}

int32_t gxnor_int_conv_input(const gxnor_int_conv* conv, const int8_t* q, const gxnor_pool* pool, const uint8_t* place,
                             const int8_t* w, const float* scale, float* dx, int32_t threads) {
  const gxnor_int_conv& c = *conv;
  const gxnor::Rounded rounded = {q, pool, place};
  if (!gxnor::is_shape(c) || !gxnor::suits(c, pool)) return gxnor::kUnsupported;
  if (!gxnor::fits(int64_t{c.c_out / c.groups} * c.kernel[0] * c.kernel[1], c.q_bound, c.w_bound))
    return gxnor::kUnsupported;
  const gxnor::Correlation of = {
      c.n, {c.ho, c.wo}, c.c_out, {c.h, c.w}, c.c_in, {c.kernel[0], c.kernel[1]}, {c.stride[0], c.stride[1]},
      {c.dilation[0] * (c.kernel[0] - 1) - c.padding[0], c.dilation[1] * (c.kernel[1] - 1) - c.padding[1]}, {1, 1},
      {c.dilation[0], c.dilation[1]}, c.groups, c.q_bound, c.w_bound};
  const gxnor_kernel kernel = gxnor::fastest_kernel(of);
  if (c.c_in >= gxnor::kRowLanes) {  // of narrower rows, events add padding for the most part
    const int64_t events = gxnor::count_events(c, rounded, threads);
    if (gxnor::suits_events(c, events, kernel == GXNOR_DIRECT ? 1 : gxnor::kSaved))
      return gxnor::input_gradient_events(c, events, rounded, w, scale, dx, threads);
  }
  const gxnor::Memory<int8_t> whole = gxnor::spread(c, rounded, threads);
  if (pool && !whole) return gxnor::kNoMemory;
  if (pool) q = whole.get();
  if (kernel != GXNOR_DIRECT) return gxnor::correlate_winograd(of, kernel, q, w, true, scale, dx, threads);
  return gxnor::correlate(of, q, gxnor::backward_panels(of, w, threads), scale, dx, threads);
}

int32_t gxnor_int_conv_weight(const gxnor_int_conv* conv, const int8_t* q, const gxnor_pool* pool, const uint8_t* place,
                              const int8_t* x, const float* scale, float* dw, int32_t threads) {
  const gxnor_int_conv& c = *conv;
  const gxnor::Rounded rounded = {q, pool, place};
  if (!gxnor::is_shape(c) || !gxnor::suits(c, pool)) return gxnor::kUnsupported;
  if (!gxnor::fits(int64_t{c.n} * c.ho * c.wo, c.q_bound, c.x_bound)) return gxnor::kUnsupported;
  if (gxnor::suits_weight_narrow(c)) return gxnor::weight_gradient_narrow(c, rounded, x, scale, dw, threads);
  const bool winograd = gxnor::suits_weight_winograd(c);
  const int64_t events = gxnor::count_events(c, rounded, threads);
  if (gxnor::suits_events(c, events, winograd ? gxnor::kSaved : 1))
    return gxnor::weight_gradient_events(c, events, rounded, x, scale, dw, threads);
  const gxnor::Memory<int8_t> whole = gxnor::spread(c, rounded, threads);
  if (pool && !whole) return gxnor::kNoMemory;
  if (pool) q = whole.get();
  if (winograd) return gxnor::weight_gradient_winograd(c, q, x, scale, dw, threads);
  return gxnor::weight_gradient(c, q, x, scale, dw, threads);
}
