// Steps that lie on a line. How many of the steps t_0 <= t_1 <= ... a sum x reaches is then
//
//   clamp(x * scale + offset, 0, rows), rounded down,
//
// in float32, instead of a comparison for every step. Where halves are rounded towards zero, steps above zero lie one higher
// than the line of those below: `split` then takes 1 from positive sums. None of these operations reverses an order, so a
// line that counts right where the count changes, at t_k and at t_k - 1, is right for every x.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace gxnor {

struct Line {
  float scale, offset;
  bool split;

  int32_t reached(int32_t x, int rows) const {
    const float y = static_cast<float>(x - (split && x > 0)) * scale + offset;
    return static_cast<int32_t>(std::min(std::max(y, 0.0f), static_cast<float>(rows)));
  }
};

// Of the lines start + k slope with t_k - 1 < start + k slope <= t_k, the one with most room on both sides, if there is one.
inline std::optional<Line> line_through(const std::vector<int32_t>& steps, bool split) {
  const int rows = static_cast<int>(steps.size());
  double low = 0, high = 0;  // where `start` may be
  const auto room = [&](double slope) {
    low = -std::numeric_limits<double>::infinity(), high = -low;
    for (int k = 0; k < rows; ++k) {
      const double start = steps[k] - (split && steps[k] > 0) - k * slope;
      low = std::max(low, start - 1), high = std::min(high, start);
    }
    return high - low;
  };
  const double rise = double{1} * steps[rows - 1] - steps[0];
  double least = (rise - 2) / (rows - 1), most = (rise + 1) / (rows - 1);
  for (int i = 0; i < 64; ++i) {  // room is concave
    const double third = (most - least) / 3;
    if (room(least + third) < room(most - third))
      least += third;
    else
      most -= third;
  }
  const double slope = (least + most) / 2;
  if (slope <= 0 || room(slope) <= 0) return std::nullopt;
  return Line{static_cast<float>(1 / slope), static_cast<float>(1 - (low + high) / 2 / slope), split};
}

// The line of two ascending steps or more, for values up to `bound` in size, if float32 has one.
inline std::optional<Line> line_of(const std::vector<int32_t>& steps, int32_t bound) {
  const int rows = static_cast<int>(steps.size());
  const auto reached = [&](int32_t x) {
    return static_cast<int32_t>(std::upper_bound(steps.begin(), steps.end(), x) - steps.begin());
  };
  if (reached(-bound) == reached(bound)) return Line{0.0f, static_cast<float>(reached(bound)) + 0.5f, false};
  for (const bool split : {false, true}) {
    const std::optional<Line> line = line_through(steps, split);
    const auto right = [&](int32_t x) { return line->reached(x, rows) == reached(x); };
    if (line && std::all_of(steps.begin(), steps.end(), [&](int32_t step) { return right(step - 1) && right(step); }))
      return line;
  }
  return std::nullopt;
}

}  // namespace gxnor
