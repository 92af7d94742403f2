// Shapes, bounds and readers of a program's values (values.h), and every check of its description.
#include "engine/values.h"

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "engine/states.h"

namespace gxnor {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 26;
constexpr int kMaxWindow = 65535;
constexpr int kMaxSpace = 7;

void require(bool holds) {
  if (!holds) throw Failure{GXNOR_BAD_PROGRAM};
}

int64_t times(int64_t a, int64_t b) {
  int64_t product;
  require(!__builtin_mul_overflow(a, b, &product));
  return product;
}

int64_t windows(const gxnor_layer& layer, int axis, int64_t extent, bool ceil_mode) {
  const int64_t k = layer.kernel[axis], s = layer.stride[axis], p = layer.padding[axis], d = layer.dilation[axis];
  require(k >= 1 && k <= kMaxWindow && s >= 1 && s <= kMaxWindow && p >= 0 && p <= kMaxWindow && d >= 1 && d <= kMaxWindow);
  const int64_t free = extent + 2 * p - d * (k - 1) - 1;
  require(free >= 0 || ceil_mode);
  int64_t count = (ceil_mode ? (free >= 0 ? divide_up(free, s) : -(-free / s)) : free / s) + 1;
  if (ceil_mode && (count - 1) * s >= extent + p) --count;
  require(count >= 1);
  return count;
}

void admit(const Value& value) {
  // One after the other, as the product of all could overflow.
  require(value.channels <= kMaxElements && value.height <= kMaxElements && value.width <= kMaxElements);
  require(value.channels * value.height <= kMaxElements && value.elements() <= kMaxElements);
  require(value.bound < INT32_MAX);
}

template <typename T>
void data(const gxnor_layer& layer, int index, int64_t count) {
  require(layer.data[index] && layer.sizes[index] == count * static_cast<int64_t>(sizeof(T)));
}

// Padding is read where a value ends.
void reach(const gxnor_layer& layer, std::vector<Value>& values) {
  int* const margin = values[layer.inputs[0]].margin;
  for (int axis = 0; axis < 2; ++axis) margin[axis] = std::max(margin[axis], layer.padding[axis]);
}

// Whether a layer's output lies in its input's pixels and, with zeros around it, in their margin.
bool within_margin(const gxnor_layer& layer) { return layer.kind == GXNOR_PAD || layer.kind == GXNOR_CHANNELS; }

// The output of a layer with `fan` weights a channel.
void weigh(const gxnor_layer& layer, int64_t fan, Value& y) {
  require(layer.space >= 0 && layer.space <= kMaxSpace && fan <= INT32_MAX);
  data<uint8_t>(layer, 0, divide_up(times(times(fan, layer.out), States{nullptr, layer.space}.storage()), 8));
  y.bound = times(y.bound, fan * top_level(layer.space));
  y.channels = layer.out;
  y.space = kSums;
}

// The output of layer `number`, of `count`.
Value output(const gxnor_layer& layer, int number, int count, std::vector<Value>& values) {
  for (const int input : inputs_of(layer)) {
    require(input >= 0 && input < number);
    values[input].readers.push_back(number);
  }
  const Value& x = values[layer.inputs[0]];
  Value y = {x.channels, x.height, x.width, x.bound, x.space, {}};
  const int64_t channels = x.channels;
  switch (layer.kind) {
    case GXNOR_CONV:
      require(layer.groups >= 1 && layer.out >= 1 && channels % layer.groups == 0 && layer.out % layer.groups == 0);
      y.height = windows(layer, 0, x.height, false);
      y.width = windows(layer, 1, x.width, false);
      weigh(layer, channels / layer.groups * layer.kernel[0] * layer.kernel[1], y);
      reach(layer, values);
      break;
    case GXNOR_DENSE:
      require(layer.out >= 1 && x.height == 1 && x.width == 1);
      weigh(layer, channels, y);
      break;
    case GXNOR_THRESHOLD: {
      require(layer.space >= 0 && layer.space <= kMaxSpace);
      const int64_t steps = int64_t{1} << layer.space;
      data<int32_t>(layer, 0, channels * steps);
      data<int8_t>(layer, 1, channels);
      for (int64_t c = 0; c < channels; ++c) {
        const int32_t* row = static_cast<const int32_t*>(layer.data[0]) + c * steps;
        require(std::is_sorted(row, row + steps));
        const int8_t sign = static_cast<const int8_t*>(layer.data[1])[c];
        require(sign == 1 || sign == -1);
      }
      y.space = layer.space;
      y.bound = top_level(layer.space);
      break;
    }
    case GXNOR_MAX_POOL:
      y.height = windows(layer, 0, x.height, layer.ceil_mode != 0);
      y.width = windows(layer, 1, x.width, layer.ceil_mode != 0);
      for (int axis = 0; axis < 2; ++axis) {  // no window sees only padding
        const int64_t p = layer.padding[axis], d = layer.dilation[axis];
        require(2 * p <= d * (layer.kernel[axis] - 1) + 1 && (p == 0 || d <= (axis == 0 ? x.height : x.width)));
      }
      break;
    case GXNOR_SUM_POOL:
      y.height = windows(layer, 0, x.height, false);
      y.width = windows(layer, 1, x.width, false);
      require(layer.dilation[0] == 1 && layer.dilation[1] == 1);
      reach(layer, values);
      y.bound = times(x.bound, int64_t{layer.kernel[0]} * layer.kernel[1]);
      y.space = kSums;
      break;
    case GXNOR_ADD: {
      const Value& b = values[layer.inputs[1]];
      require(b.channels == channels && b.height == x.height && b.width == x.width);
      y.bound = std::abs(int64_t{layer.factors[0]}) * x.bound + std::abs(int64_t{layer.factors[1]}) * b.bound;
      y.space = kSums;
      break;
    }
    case GXNOR_FLATTEN:
      y.channels = x.elements();
      y.height = y.width = 1;
      break;
    case GXNOR_SCALE:
      require(number == count && layer.out == x.elements());
      data<float>(layer, 0, channels);
      data<float>(layer, 1, channels);
      break;
    case GXNOR_REQUANTIZE: {
      data<int32_t>(layer, 0, channels);
      data<int64_t>(layer, 1, channels);
      const int shift = layer.factors[0];
      require(shift >= 0 && shift <= 62);
      y.bound = 0;
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t reach = std::abs(int64_t{static_cast<const int32_t*>(layer.data[0])[c]}) * x.bound;
        const int64_t offset = static_cast<const int64_t*>(layer.data[1])[c], most = int64_t{1} << 62;
        require(offset > -most && offset < most && reach < most && std::abs(offset) + reach < most);
        y.bound = std::max({y.bound, std::abs((offset - reach) >> shift), std::abs((offset + reach) >> shift)});
      }
      y.space = kSums;
      break;
    }
    case GXNOR_CONCAT:
      y.channels = 0;
      for (const int input : inputs_of(layer)) {
        const Value& part = values[input];
        require(part.height == x.height && part.width == x.width);
        y.channels += part.channels;
        y.bound = std::max(y.bound, part.bound);
        if (part.space != x.space || part.space < 0) y.space = kSums;
      }
      break;
    case GXNOR_PAD:
      for (int axis = 0; axis < 2; ++axis) {
        require(layer.padding[axis] >= 0 && layer.padding[axis] <= kMaxWindow);
        require(layer.dilation[axis] >= 0 && layer.dilation[axis] <= kMaxWindow);
      }
      y.height += layer.padding[0] + layer.dilation[0];
      y.width += layer.padding[1] + layer.dilation[1];
      y.space = x.space < 0 ? kSums : std::max(x.space, 1);  // Z_0 has no zero
      break;
    case GXNOR_UPSAMPLE:
      for (int axis = 0; axis < 2; ++axis) require(layer.factors[axis] >= 1 && layer.factors[axis] <= kMaxWindow);
      y.height *= layer.factors[0];
      y.width *= layer.factors[1];
      break;
    case GXNOR_CHANNELS:
      require(layer.out >= 1);
      data<int32_t>(layer, 0, layer.out);
      for (int c = 0; c < layer.out; ++c) {
        const int32_t from = static_cast<const int32_t*>(layer.data[0])[c];
        require(from >= 0 && from < channels);
      }
      y.channels = layer.out;
      break;
    default: require(false);
  }
  require(number < count || layer.kind == GXNOR_SCALE);
  admit(y);
  return y;
}

}  // namespace

std::vector<int> inputs_of(const gxnor_layer& layer) {
  if (layer.kind != GXNOR_CONCAT) return {layer.inputs, layer.inputs + (layer.kind == GXNOR_ADD ? 2 : 1)};
  const int32_t* const numbers = static_cast<const int32_t*>(layer.data[0]);
  require(numbers && layer.sizes[0] >= 8 && layer.sizes[0] % 4 == 0);
  require(numbers[0] == layer.inputs[0] && numbers[1] == layer.inputs[1]);
  return {numbers, numbers + layer.sizes[0] / 4};
}

std::vector<Value> infer(const gxnor_input& input, const gxnor_layer* layers, int count, int32_t& layer) {
  layer = 0;
  require(count >= 1);
  require(input.space == kPixels || (input.space >= 0 && input.space <= kMaxSpace));
  for (const int extent : input.shape) require(extent >= 1);
  const int64_t bound = input.space == kPixels ? 255 : top_level(input.space);
  std::vector<Value> values = {{input.shape[0], input.shape[1], input.shape[2], bound, input.space, {}}};
  admit(values[0]);
  for (layer = 1; layer <= count; ++layer) values.push_back(output(layers[layer - 1], layer, count, values));
  for (layer = count; layer > 0; --layer) {
    const gxnor_layer& within = layers[layer - 1];
    int* const margin = values[within.inputs[0]].margin;
    for (int axis = 0; axis < 2 && within_margin(within); ++axis) {
      const int around = within.kind == GXNOR_PAD ? std::max(within.padding[axis], within.dilation[axis]) : 0;
      margin[axis] = std::max(margin[axis], values[layer].margin[axis] + around);
    }
  }
  return values;
}

}  // namespace gxnor
