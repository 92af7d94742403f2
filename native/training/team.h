// The loop of the training kernels, which run between PyTorch's operations.
#pragma once

#include <cstdint>
#include <functional>

namespace gxnor {

// parallel_for (common/threads.h) on PyTorch's own OpenMP threads, where it has loaded a runtime that shares them: these
// spin for a while after each of PyTorch's operations, and a pool beside them would wait for its cores. Where there is none,
// the threads are our own. An exception out of body ends the process. After fork(), as with PyTorch, more than one thread
// may wait for ever.
void team_for(int64_t n, int64_t grain, int threads, const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace gxnor
