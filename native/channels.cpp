// A slice of the channels of values in channels_last order, to floats of its own and back; the reference is
// gxnor/nn/small.py.
#include <cstdint>
#include <type_traits>

#include "gxnor.h"
#include "team.h"

namespace {

constexpr int64_t kGrain = 1 << 11;  // rows

// The widths that slices mostly have are known to the compiler.
template <typename From, typename To>
void copy(const From* from, int64_t from_stride, To* to, int64_t to_stride, int64_t rows, int64_t count) {
  const auto each = [=](auto width) {
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < width; ++i) to[row * to_stride + i] = static_cast<To>(from[row * from_stride + i]);
    }
  };
  if (count == 8) return each(std::integral_constant<int64_t, 8>{});
  each(count);
}

template <typename From, typename To>
void copy_all(const void* from, int64_t from_stride, void* to, int64_t to_stride, int64_t rows, int64_t count,
              int threads) {
  gxnor::team_for(rows, kGrain, threads, [=](int64_t begin, int64_t end) {
    copy(static_cast<const From*>(from) + begin * from_stride, from_stride, static_cast<To*>(to) + begin * to_stride,
         to_stride, end - begin, count);
  });
}

}  // namespace

// to[rows][count] from x[rows][channels], x at the first channel of the slice: int8, int16 or float by the bytes of each.
GXNOR_API void gxnor_take_channels(const void* x, int bytes, int64_t rows, int64_t channels, int64_t count, float* to,
                                   int threads) {
  const auto take = bytes == 1 ? copy_all<int8_t, float> : bytes == 2 ? copy_all<int16_t, float> : copy_all<float, float>;
  take(x, channels, to, count, rows, count, threads);
}

// x[rows][channels], at the first channel of the slice, from part[rows][count].
GXNOR_API void gxnor_put_channels(const float* part, int64_t rows, int64_t channels, int64_t count, float* x,
                                  int threads) {
  copy_all<float, float>(part, count, x, channels, rows, count, threads);
}
