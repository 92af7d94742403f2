#include "training/team.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>

#include "common/threads.h"
#include "training/training.h"

namespace gxnor {
namespace {

// GOMP_parallel(function, data, threads, flags), the entry that compilers call for `#pragma omp parallel`.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

std::atomic<bool> sharing{true};

// That of the OpenMP runtime that PyTorch has loaded, which it makes visible to all; null where there is none.
Parallel openmp() {
  static const auto found = reinterpret_cast<Parallel>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  return sharing.load(std::memory_order_relaxed) ? found : nullptr;
}

struct Loop {
  const std::function<void(int64_t, int64_t)>& body;
  const int64_t n, grain;
  std::atomic<int64_t> next{0};

  static void work(void* loop) noexcept {
    auto& [body, n, grain, next] = *static_cast<Loop*>(loop);
    for (int64_t begin; (begin = next.fetch_add(grain, std::memory_order_relaxed)) < n;) {
      body(begin, std::min(begin + grain, n));
    }
  }
};

}  // namespace

void team_for(int64_t n, int64_t grain, int threads, const std::function<void(int64_t, int64_t)>& body) {
  const Parallel parallel = threads > 1 && n > grain ? openmp() : nullptr;
  if (!parallel) return parallel_for(n, grain, threads, body);
  Loop loop{body, n, std::max<int64_t>(grain, 1)};
  parallel(Loop::work, &loop, static_cast<unsigned>(threads), 0);
}

}  // namespace gxnor

int32_t gxnor_share_threads(int32_t share) {
  gxnor::sharing = share != 0;
  return gxnor::openmp() != nullptr;
}
