// The C interface of the engine (engine.h): exceptions become status codes.
#include "engine/engine.h"

#include <new>

#include "engine/compile.h"

namespace {

// Nothing may leave the C interface but a status.
template <typename F>
int32_t guarded(F&& body) {
  try {
    return body();
  } catch (const gxnor::Failure& failure) {
    return failure.status;
  } catch (const std::bad_alloc&) {
    return GXNOR_NO_MEMORY;
  } catch (...) {
    return GXNOR_TOO_LARGE;  // std::length_error
  }
}

}  // namespace

const char* gxnor_isa(int32_t index) {
  int count;
  const gxnor::Kernels* const* all = gxnor::all_kernels(&count);
  for (int i = 0; i < count; ++i)
    if (all[i]->supported() && index-- == 0) return all[i]->name;
  return nullptr;
}

int32_t gxnor_plan_create(const gxnor_input* input, const gxnor_layer* layers, int32_t count, const char* isa,
                          int32_t kernel, int32_t threads, gxnor_plan** plan, int32_t* layer) {
  *plan = nullptr;
  *layer = 0;
  return guarded([&]() -> int32_t {
    const gxnor::Kernels* kernels = gxnor::find_kernels(isa);
    if (!kernels) return GXNOR_NO_KERNELS;
    *plan = gxnor::compile(*input, layers, count, *kernels, kernel, threads, *layer).release();
    return GXNOR_OK;
  });
}

int32_t gxnor_plan_run(const gxnor_plan* plan, const uint8_t* x, int64_t batch, int32_t threads, float* logits,
                       double* seconds) {
  return guarded([&]() -> int32_t { return plan->run(x, batch, threads, logits, seconds); });
}

const char* gxnor_plan_step(const gxnor_plan* plan, int32_t index) {
  return index >= 0 && index < static_cast<int32_t>(plan->steps.size()) ? plan->steps[index]->name() : nullptr;
}

int64_t gxnor_plan_bytes(const gxnor_plan* plan) { return plan->bytes(); }

void gxnor_plan_destroy(gxnor_plan* plan) { delete plan; }
