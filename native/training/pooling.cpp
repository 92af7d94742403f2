// Max-pooling that remembers where in its window each maximum lies; the reference is gxnor/nn/pooling.py.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "common/vectorise.h"
#include "training/pooling.h"
#include "training/team.h"
#include "training/training.h"

namespace {

// Position of a window's place along an axis; outside the plane for some.
GXNOR_BODY int64_t locate(const gxnor_pool& g, int axis, int64_t window, int64_t place) {
  return window * g.stride[axis] - g.padding[axis] + place * g.dilation[axis];
}

// value[i * stride] into the maxima y[i] and their places at[i], -1 before the first. As PyTorch has it, NaN is larger
// than all, and of equal values the first counts.
template <typename T, typename Index, typename Stride>
GXNOR_BODY void take_larger(const T* value, Stride stride, int64_t n, Index number, T* y, Index* at) {
  for (int64_t i = 0; i < n; ++i) {
    const T v = value[i * stride];
    const bool larger = (v > y[i]) | (v != v) | (at[i] < 0);
    y[i] = larger ? v : y[i];
    at[i] = larger ? number : at[i];
  }
}

// Of neighbouring integers.
GXNOR_BODY void take_larger(const int16_t* value, std::integral_constant<int64_t, 1>, int64_t n, int16_t number, int16_t* y,
                            int16_t* at) {
  using Words = gxnor::Some<int16_t, 32>;
  constexpr int kWords = sizeof(Words) / sizeof(int16_t);
  int64_t i = 0;
  for (; i + kWords <= n; i += kWords) {
    Words v, largest, names;
    gxnor::load(v, value + i);
    gxnor::load(largest, y + i);
    gxnor::load(names, at + i);
    const Words larger = (v > largest) | (names < 0);
    gxnor::store(y + i, (v & larger) | (largest & ~larger));
    gxnor::store(at + i, (larger & number) | (names & ~larger));
  }
  for (; i < n; ++i) {
    const bool larger = value[i] > y[i] || at[i] < 0;
    y[i] = larger ? value[i] : y[i];
    at[i] = larger ? number : at[i];
  }
}

// at[out_width * inner] is scratch.
template <typename T, typename Index>
GXNOR_BODY void forward(const gxnor_pool* geometry, const T* x, T* y, uint8_t* place, Index* at) {
  constexpr std::integral_constant<int64_t, 1> kDense;
  constexpr std::integral_constant<int64_t, 2> kEverySecond;
  const gxnor_pool& g = *geometry;
  const int64_t size = g.out_width * g.inner;
  for (int64_t row = 0; row < g.out_height; ++row, y += size, place += size) {
    for (int64_t i = 0; i < size; ++i) at[i] = -1;
    for (int64_t number = 0; number < g.kernel[0] * g.kernel[1]; ++number) {
      const int64_t i = number / g.kernel[1], j = number % g.kernel[1], line = locate(g, 0, row, i);
      int64_t first = 0, last = g.out_width;  // the windows whose place lies inside the plane
      while (first < last && locate(g, 1, first, j) < 0) ++first;
      while (first < last && locate(g, 1, last - 1, j) >= g.width) --last;
      if (line < 0 || line >= g.height || first == last) continue;
      const T* value = x + (line * g.width + locate(g, 1, first, j)) * g.inner;
      const Index name = static_cast<Index>(number);
      if (g.inner == 1) {
        if (g.stride[1] == 2) take_larger(value, kEverySecond, last - first, name, y + first, at + first);
        else take_larger(value, g.stride[1], last - first, name, y + first, at + first);
      } else {
        for (int64_t k = first; k < last; ++k, value += g.stride[1] * g.inner) {
          take_larger(value, kDense, g.inner, name, y + k * g.inner, at + k * g.inner);
        }
      }
    }
    for (int64_t i = 0; i < size; ++i) place[i] = static_cast<uint8_t>(at[i]);
  }
}

// One plane; where windows overlap, their gradients are added in the order of the windows.
void backward(const gxnor_pool& g, const float* dy, const uint8_t* place, float* dx) {
  int64_t offset[256];
  for (int64_t number = 0; number < g.kernel[0] * g.kernel[1]; ++number) offset[number] = gxnor::pool_place(g, number);
  std::fill_n(dx, g.height * g.width * g.inner, 0.0f);
  for (int64_t row = 0; row < g.out_height; ++row) {
    for (int64_t column = 0; column < g.out_width; ++column, dy += g.inner, place += g.inner) {
      const int64_t origin = gxnor::pool_window(g, row, column);
      for (int64_t c = 0; c < g.inner; ++c) dx[origin + offset[place[c]] + c] += dy[c];
    }
  }
}

// whole[height][width][inner]: each value at its place, zeros between.
GXNOR_BODY void spread(const gxnor_pool* geometry, const int8_t* values, const uint8_t* place, int8_t* whole) {
  constexpr int kWide = 32;
  const gxnor_pool g = *geometry;  // a copy: bytes that are written might be the original
  std::memset(whole, 0, g.height * g.width * g.inner);
  for (int64_t row = 0; row < g.out_height; ++row) {
    for (int64_t number = 0; number < g.kernel[0] * g.kernel[1]; ++number) {
      const int64_t j = number % g.kernel[1], line = locate(g, 0, row, number / g.kernel[1]);
      if (line < 0 || line >= g.height) continue;
      const uint8_t own = static_cast<uint8_t>(number);
      for (int64_t column = 0; column < g.out_width; ++column) {
        const int64_t x = locate(g, 1, column, j), from = (row * g.out_width + column) * g.inner;
        if (x < 0 || x >= g.width) continue;
        int8_t* const to = whole + (line * g.width + x) * g.inner;
        int64_t c = 0;
        for (; c + kWide <= g.inner; c += kWide) {
          gxnor::Some<uint8_t, kWide> at, some;
          gxnor::load(at, place + from + c);
          gxnor::load(some, values + from + c);
          gxnor::store(to + c, some & reinterpret_cast<gxnor::Some<uint8_t, kWide>>(at == own));
        }
        for (; c < g.inner; ++c) to[c] = place[from + c] == own ? values[from + c] : 0;
      }
    }
  }
}

int64_t planes(const gxnor_pool& g) { return (1 << 14) / (g.height * g.width * g.inner) + 1; }

}  // namespace

void gxnor::pool_plane(const gxnor_pool& g, const int16_t* x, int16_t* y, uint8_t* place, int16_t* at) {
  vectorised<forward<int16_t, int16_t>>(&g, x, y, place, at);
}

void gxnor::spread_plane(const gxnor_pool& g, const int8_t* values, const uint8_t* place, int8_t* whole) {
  vectorised<spread>(&g, values, place, whole);
}

void gxnor_pool_forward(const gxnor_pool* g, const float* x, float* y, uint8_t* place, int32_t threads) {
  const int64_t from = g->height * g->width * g->inner, to = g->out_height * g->out_width * g->inner;
  gxnor::team_for(g->outer, planes(*g), threads, [=](int64_t begin, int64_t end) {
    std::vector<int32_t> at(g->out_width * g->inner);
    for (int64_t i = begin; i < end; ++i) {
      gxnor::vectorised<forward<float, int32_t>>(g, x + i * from, y + i * to, place + i * to, at.data());
    }
  });
}

void gxnor_pool_backward(const gxnor_pool* g, const float* dy, const uint8_t* place, float* dx, int32_t threads) {
  const int64_t from = g->out_height * g->out_width * g->inner, to = g->height * g->width * g->inner;
  gxnor::team_for(g->outer, planes(*g), threads, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) backward(*g, dy + i * from, place + i * from, dx + i * to);
  });
}
