// The transforms of Winograd's F(2, 3) and F(4, 3), in one dimension: M outputs of a kernel of 3 taps from M + 2 inputs.
//
//   y = A^T [ G w . B^T x ]
//
// with the fractions of the usual G moved to A and cleared, so that G and B hold integers and output i is kScale[i] times
// too large. T is an integer or a vector of integers, which may wrap: what fits in the end is right.
#pragma once

#include <cstdint>

#include "common/vectorise.h"

namespace gxnor {

template <int M>
struct Transform;

// F(2, 3), points 0, 1, -1 and infinity, with G doubled.
template <>
struct Transform<2> {
  static constexpr int kPoints = 4, kScale[2] = {2, 2};
  static constexpr int kG[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
  static constexpr int kB[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};

  template <typename T>
  GXNOR_BODY static void weights(const T (&w)[3], T (&u)[4]) {
    u[0] = w[0] + w[0];
    u[1] = w[0] + w[1] + w[2];
    u[2] = w[0] - w[1] + w[2];
    u[3] = w[2] + w[2];
  }
  template <typename T>
  GXNOR_BODY static void inputs(const T (&x)[4], T (&v)[4]) {
    v[0] = x[0] - x[2];
    v[1] = x[1] + x[2];
    v[2] = x[2] - x[1];
    v[3] = x[1] - x[3];
  }
  template <typename T>
  GXNOR_BODY static void outputs(const T (&m)[4], T (&y)[2]) {
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
  }
};

// F(4, 3), points 0, 1, -1, 2, -2 and infinity.
template <>
struct Transform<4> {
  static constexpr int kPoints = 6, kScale[4] = {24, 12, 6, 6};
  static constexpr int kG[6][3] = {{1, 0, 0}, {1, 1, 1}, {1, -1, 1}, {1, 2, 4}, {1, -2, 4}, {0, 0, 1}};
  static constexpr int kB[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                   {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};

  template <typename T>
  GXNOR_BODY static void weights(const T (&w)[3], T (&u)[6]) {
    const T even = w[0] + w[2], two1 = w[1] + w[1], two2 = w[2] + w[2], far = w[0] + two2 + two2;
    u[0] = w[0];
    u[1] = even + w[1];
    u[2] = even - w[1];
    u[3] = far + two1;
    u[4] = far - two1;
    u[5] = w[2];
  }
  template <typename T>
  GXNOR_BODY static void inputs(const T (&x)[6], T (&v)[6]) {
    const T two1 = x[1] + x[1], two2 = x[2] + x[2], low = x[4] - two2 - two2, odd = x[3] - two1 - two1;
    const T near = x[4] - x[2], first = x[0] - x[2], first2 = first + first, half = x[3] - x[1], step = half + half;
    v[0] = first2 + first2 + near;
    v[1] = low + odd;
    v[2] = low - odd;
    v[3] = near + step;
    v[4] = near - step;
    v[5] = x[5] - x[3] - step - step;
  }
  template <typename T>
  GXNOR_BODY static void outputs(const T (&m)[6], T (&y)[4]) {
    const T near = m[1] + m[2], odd = m[1] - m[2], far = m[3] + m[4], wide = m[3] - m[4];
    const T first = m[0] - near, first3 = first + first + m[0], last3 = wide + m[5] + m[5] + m[5];
    y[0] = first3 + first3 + far;
    y[1] = wide - odd - odd;
    y[2] = far - near;
    y[3] = last3 + last3 - odd;
  }
};

// Of one row of a matrix, the sum and the sum of sizes: what the transform makes of ones, and of levels -1..1 at the most.
template <int kCount>
constexpr int row_sum(const int (&row)[kCount]) {
  int sum = 0;
  for (int i = 0; i < kCount; ++i) sum += row[i];
  return sum;
}
template <int kCount>
constexpr int row_size(const int (&row)[kCount]) {
  int sum = 0;
  for (int i = 0; i < kCount; ++i) sum += row[i] < 0 ? -row[i] : row[i];
  return sum;
}

// Point p of a tile in two dimensions, row by row.
template <int M>
struct Point {
  using In1d = Transform<M>;
  static constexpr int kCount = In1d::kPoints * In1d::kPoints;

  // V of levels -1..1 is in -size..size, and raised by that to be unsigned; U is in -weight..weight.
  static constexpr int size(int p) { return row_size(In1d::kB[p / In1d::kPoints]) * row_size(In1d::kB[p % In1d::kPoints]); }
  static constexpr int weight(int p) {
    return row_size(In1d::kG[p / In1d::kPoints]) * row_size(In1d::kG[p % In1d::kPoints]);
  }
};

// Tables, for the compiler does not fold what is after them where it vectorises.
template <int M>
struct Tables {
  int32_t size[Point<M>::kCount];   // of points
  int32_t ones[Point<M>::kCount];   // V of ones
  int32_t piece[Point<M>::kCount];  // quads whose products, in pairs, fit in 16 bits

  constexpr Tables() : size(), ones(), piece() {
    using F = Transform<M>;
    for (int p = 0; p < Point<M>::kCount; ++p) {
      size[p] = Point<M>::size(p);
      ones[p] = row_sum(F::kB[p / F::kPoints]) * row_sum(F::kB[p % F::kPoints]);
      piece[p] = INT16_MAX / (4 * size[p] * Point<M>::weight(p));
    }
  }
};

}  // namespace gxnor
