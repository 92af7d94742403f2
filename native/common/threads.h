// One loop over many threads.
#pragma once

#include <cstdint>
#include <functional>

namespace gxnor {

// Calls body(begin, end) for pieces that together cover 0..n exactly once. With threads > 1 the pieces are at most `grain`
// long, start at multiples of it and are handed out in order to whichever thread is free; with one thread, or one piece,
// it is a plain call body(0, n) on the caller.
//
// The caller works too and returns when all is done. May be called from many threads at once and from within a body: a
// call never waits for a thread that is busy elsewhere. The first exception that leaves a body is rethrown here, after
// the pieces already begun. The threads live as long as the process; a child made by fork() starts its own.
void parallel_for(int64_t n, int64_t grain, int threads, const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace gxnor
