#include "engine/simplify.h"

#include <algorithm>
#include <cstdlib>

namespace gxnor {
namespace {

constexpr int32_t kAlways = INT32_MIN, kNever = INT32_MAX;  // no value is as large (Value)

// The least integer that is no less than a / b; b > 0.
int64_t ceiling(int64_t a, int64_t b) { return a / b + (a % b > 0); }

// Where sign * ((m x + o) >> s) >= t, as own_sign * x >= what is returned; |m x + o| < 2^62.
int32_t step_before(int64_t m, int64_t o, int s, int sign, int32_t t, int& own_sign) {
  const int64_t limit = int64_t{1} << (62 - s);
  own_sign = (sign < 0) != (m < 0) ? -1 : 1;
  int64_t least;  // of |m| own_sign x
  if (sign > 0) {
    if (t >= limit) return kNever;
    if (t <= -limit) return kAlways;
    least = t * (int64_t{1} << s) - o;
  } else {  // m x + o < u 2^s
    const int64_t u = 1 - int64_t{t};
    if (u >= limit) return kAlways;
    if (u <= -limit) return kNever;
    least = o - u * (int64_t{1} << s) + 1;
  }
  if (m == 0) return least <= 0 ? kAlways : kNever;
  return static_cast<int32_t>(std::clamp<int64_t>(ceiling(least, std::abs(m)), kAlways, kNever));
}

}  // namespace

Simplified::Simplified(const gxnor_layer* given, int count, const std::vector<Value>& values)
    : given_(given), values_(values), gone_(values.size()), number_(values.size()) {
  for (int number = count; number > 0; --number) gone_[number] = dissolves(number);
  for (at_ = 1; at_ <= count; ++at_) {
    if (gone_[at_]) continue;
    gxnor_layer layer = given[at_ - 1];
    if (layer.kind == GXNOR_THRESHOLD) {
      number_[at_] = threshold(layer.inputs[0], {layer.space, static_cast<const int32_t*>(layer.data[0]),
                                                 static_cast<const int8_t*>(layer.data[1])});
      continue;
    }
    std::vector<int32_t> inputs = inputs_of(layer);
    for (int32_t& input : inputs) input = number_[input];
    for (size_t i = 0; i < std::min<size_t>(inputs.size(), 2); ++i) layer.inputs[i] = inputs[i];
    if (layer.kind == GXNOR_CONCAT) layer.data[0] = hold(integers_, std::move(inputs));
    number_[at_] = add(layer);
  }
}

// Whether nothing but thresholds reads a value that they can do without. Parts are to begin at a byte, as bits do.
bool Simplified::dissolves(int number) const {
  const gxnor_layer& layer = given_[number - 1];
  if (layer.kind != GXNOR_REQUANTIZE && layer.kind != GXNOR_CONCAT) return false;
  if (layer.kind == GXNOR_CONCAT) {
    const std::vector<int> parts = inputs_of(layer);
    if (std::any_of(parts.begin(), parts.end(), [&](int part) { return values_[part].channels % 8 != 0; })) return false;
  }
  const std::vector<int>& readers = values_[number].readers;
  return !readers.empty() && std::all_of(readers.begin(), readers.end(), [&](int reader) {
    return gone_[reader] || given_[reader - 1].kind == GXNOR_THRESHOLD;
  });
}

// Returns the number of what is made.
int Simplified::threshold(int number, Steps steps) {
  const int64_t channels = values_[number].channels, each = int64_t{1} << steps.space;
  if (!gone_[number]) {
    gxnor_layer layer = {};
    layer.kind = GXNOR_THRESHOLD;
    layer.inputs[0] = number_[number];
    layer.space = steps.space;
    layer.groups = 1;
    layer.data[0] = steps.thresholds, layer.sizes[0] = channels * each * static_cast<int64_t>(sizeof(int32_t));
    layer.data[1] = steps.sign, layer.sizes[1] = channels;
    return add(layer);
  }
  const gxnor_layer& from = given_[number - 1];
  if (from.kind == GXNOR_REQUANTIZE) return threshold(from.inputs[0], before(from, channels, steps));
  std::vector<int32_t> parts = inputs_of(from);
  for (int32_t& part : parts) {
    const int64_t own = values_[part].channels;
    part = threshold(part, steps);
    steps.thresholds += own * each, steps.sign += own;
  }
  gxnor_layer layer = from;
  for (int i = 0; i < 2; ++i) layer.inputs[i] = parts[i];
  layer.data[0] = hold(integers_, std::move(parts));
  return add(layer);
}

Simplified::Steps Simplified::before(const gxnor_layer& requantize, int64_t channels, const Steps& steps) {
  const int64_t each = int64_t{1} << steps.space;
  std::vector<int32_t> thresholds(channels * each);
  std::vector<int8_t> signs(channels);
  for (int64_t c = 0; c < channels; ++c) {
    int sign = 1;
    for (int64_t k = c * each; k < (c + 1) * each; ++k)
      thresholds[k] = step_before(static_cast<const int32_t*>(requantize.data[0])[c],
                                  static_cast<const int64_t*>(requantize.data[1])[c], requantize.factors[0], steps.sign[c],
                                  steps.thresholds[k], sign);
    signs[c] = static_cast<int8_t>(sign);
  }
  return {steps.space, hold(integers_, std::move(thresholds)), hold(signs_, std::move(signs))};
}

int Simplified::add(gxnor_layer layer) {
  layers.push_back(layer);
  origin.push_back(at_);
  return static_cast<int>(layers.size());
}

template <typename T>
T* Simplified::hold(std::deque<std::vector<T>>& memory, std::vector<T> data) {
  memory.push_back(std::move(data));
  return memory.back().data();
}

}  // namespace gxnor
