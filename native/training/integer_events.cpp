// How many events there are, whether to use them, and how their values are spread where not.
#include "training/integer_events.h"

#include <algorithm>
#include <atomic>

#include "training/pooling.h"
#include "training/team.h"

namespace gxnor {
namespace {

GXNOR_BODY int64_t count_some(const int8_t* q, int64_t n) {
  constexpr int kBlock = 128;
  int64_t total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int size = static_cast<int>(std::min<int64_t>(kBlock, n - begin));
    uint8_t some = 0;
    for (int i = 0; i < size; ++i) some = static_cast<uint8_t>(some + (q[begin + i] != 0));
    total += some;
  }
  return total;
}

int64_t values_of_q(const gxnor_int_conv& c) { return int64_t{c.n} * c.ho * c.wo * c.c_out; }

}  // namespace

int64_t count_events(const gxnor_int_conv& c, const Rounded& rounded, int threads) {
  std::atomic<int64_t> total{0};
  team_for(c.n * rounded.positions(c) * c.c_out, 1 << 18, threads,
           [&](int64_t begin, int64_t end) { total += vectorised<count_some>(rounded.q + begin, end - begin); });
  return total;
}

Memory<int8_t> spread(const gxnor_int_conv& c, const Rounded& rounded, int threads) {
  const int64_t outputs = int64_t{c.ho} * c.wo * c.c_out, maxima = rounded.positions(c) * c.c_out;
  Memory<int8_t> whole(rounded.pool ? c.n * outputs : 0);
  if (!rounded.pool || !whole) return whole;
  team_for(c.n, (1 << 16) / outputs + 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      spread_plane(*rounded.pool, rounded.q + i * maxima, rounded.place + i * maxima, whole.get() + i * outputs);
  });
  return whole;
}

bool suits_events(const gxnor_int_conv& c, int64_t events, double saved) {
  // Where the two ways meet: measured with AVX2, and with VNNI what its products are faster.
  const double share = isa.load(std::memory_order_relaxed) == kAvx512 ? 0.13 : 0.45;
  return c.groups == 1 && static_cast<double>(events) * saved < share * values_of_q(c);
}

}  // namespace gxnor
