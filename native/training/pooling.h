// What max-pooling shares with blocks of layers.
#pragma once

#include <cstdint>

#include "training/training.h"

namespace gxnor {

// gxnor_pool_forward of one plane of integers. at[out_width * inner] is scratch.
void pool_plane(const gxnor_pool& pool, const int16_t* x, int16_t* y, uint8_t* place, int16_t* at);

// values[out_height][out_width][inner], each at its place of whole[height][width][inner], zeros between. No two windows
// overlap.
void spread_plane(const gxnor_pool& pool, const int8_t* values, const uint8_t* place, int8_t* whole);

// Where in its plane the window of a row and a column begins; before the plane where padding comes first.
inline int64_t pool_window(const gxnor_pool& pool, int64_t row, int64_t column) {
  return ((row * pool.stride[0] - pool.padding[0]) * pool.width + column * pool.stride[1] - pool.padding[1]) * pool.inner;
}

// And from there, the place with this number.
inline int64_t pool_place(const gxnor_pool& pool, int64_t number) {
  const int64_t i = number / pool.kernel[1], j = number % pool.kernel[1];
  return (i * pool.dilation[0] * pool.width + j * pool.dilation[1]) * pool.inner;
}

}  // namespace gxnor
