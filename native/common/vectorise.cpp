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

// For tests: from now on at most this instruction set (0 portable, 1 AVX2, 2 AVX-512). Returns the one that is used.
GXNOR_API int gxnor_limit_isa(int limit) {
  const int chosen = std::clamp(limit, 0, gxnor::fastest());
  gxnor::isa.store(chosen, std::memory_order_relaxed);
  return chosen;
}
