// Which instruction set the plain loops of vectorise.h run on.
#include "common/vectorise.h"

#include <algorithm>

#include "common/gxnor.h"

namespace gxnor {
namespace {

int fastest() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return kAvx512;
  if (__builtin_cpu_supports("avx2")) return kAvx2;
#endif
  return kPortable;
}

}  // namespace

std::atomic<int> isa{fastest()};

}  // namespace gxnor

int32_t gxnor_limit_isa(int32_t limit) {
  const int chosen = std::clamp(limit, 0, gxnor::fastest());
  gxnor::isa.store(chosen, std::memory_order_relaxed);
  return chosen;
}
