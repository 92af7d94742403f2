// Indices of max-pooling to places within their windows, and back; the reference is gxnor/nn/saving.py.
#include <cstdint>

#include "gxnor.h"
#include "threads.h"

namespace {

constexpr int64_t kGrain = 1 << 14;

}  // namespace

// Both: n values in the order of memory, `inner` of them (channels, where those come last) at every output position.
// origin[positions]: index of every window's first place. place = table[index - origin].
GXNOR_API void gxnor_pool_places(const int64_t* index, uint8_t* place, int64_t n, int64_t inner, const int64_t* origin,
                                 int64_t positions, const uint8_t* table, int threads) {
  gxnor::parallel_for(n / inner, kGrain / inner + 1, threads, [=](int64_t begin, int64_t end) {
    int64_t at = begin % positions;
    for (int64_t i = begin; i < end; ++i, at = at + 1 == positions ? 0 : at + 1) {
      for (int64_t j = i * inner; j < (i + 1) * inner; ++j) place[j] = table[index[j] - origin[at]];
    }
  });
}

// index = origin + offset[place].
GXNOR_API void gxnor_pool_indices(const uint8_t* place, int64_t* index, int64_t n, int64_t inner, const int64_t* origin,
                                  int64_t positions, const int64_t* offset, int threads) {
  gxnor::parallel_for(n / inner, kGrain / inner + 1, threads, [=](int64_t begin, int64_t end) {
    int64_t at = begin % positions;
    for (int64_t i = begin; i < end; ++i, at = at + 1 == positions ? 0 : at + 1) {
      for (int64_t j = i * inner; j < (i + 1) * inner; ++j) index[j] = origin[at] + offset[place[j]];
    }
  });
}
