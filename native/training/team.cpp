#include "training/team.h"

#include <algorithm>
#include <atomic>

#include "common/gxnor.h"
#include "common/threads.h"

namespace gxnor {
namespace {

// GOMP_parallel(function, data, threads, flags), the entry that compilers call for `#pragma omp parallel`.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

std::atomic<Parallel> openmp{nullptr};

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
  const Parallel parallel = openmp.load(std::memory_order_relaxed);
  if (!parallel || threads <= 1 || n <= grain) return parallel_for(n, grain, threads, body);
  Loop loop{body, n, std::max<int64_t>(grain, 1)};
  parallel(Loop::work, &loop, static_cast<unsigned>(threads), 0);
}

}  // namespace gxnor

// `parallel`: the address of GOMP_parallel in the OpenMP runtime that is to be shared, or null.
GXNOR_API void gxnor_share_threads(void* parallel) {
  gxnor::openmp = reinterpret_cast<gxnor::Parallel>(parallel);
}
