// What max-pooling shares with blocks of layers.
#pragma once

#include <cstdint>

#include "training/training.h"

namespace gxnor {

// gxnor_pool_forward of one plane. at[out_width * inner] is scratch.
void pool_plane(const gxnor_pool& pool, const float* x, float* y, uint8_t* place, int32_t* at);

// values[out_height][out_width][inner], each at its place of whole[height][width][inner], zeros between. No two windows
// overlap.
void spread_plane(const gxnor_pool& pool, const int8_t* values, const uint8_t* place, int8_t* whole);

// Where in its plane the place with this number of a window begins.
int64_t pool_place(const gxnor_pool& pool, int64_t row, int64_t column, int64_t number);

}  // namespace gxnor
