#include "compile.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "convolution.h"
#include "layers.h"

namespace gxnor {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 26;
constexpr int kMaxWindow = 65535;
constexpr int kPixels = -1, kSums = -2;  // instead of a space's N
constexpr int kMaxSpace = 7;

void require(bool holds) {
  if (!holds) throw Failure{GXNOR_BAD_PROGRAM};
}

// What is known of a value, and who reads it.
struct Value {
  int64_t channels, height, width, bound;
  int space;
  std::vector<int> readers;        // layers, from 1
  int margin[2] = {0, 0};          // the largest padding of a convolution that reads it
  int buffer = -1, as_int16 = -1;  // where it is, and a second form of it, once there is one

  int64_t elements() const { return channels * height * width; }
};

int64_t top_level(int N) { return N <= 1 ? 1 : int64_t{1} << (N - 1); }

Form form_of(int space) {
  return space == kSums ? Form::int32 : space == 0 || space == 1 ? Form::bits : Form::int16;
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

class Compiler {
 public:
  Compiler(const gxnor_input& input, const gxnor_layer* layers, int count, const Kernels& kernels, int threads)
      : layers_(layers), count_(count), kernels_(kernels), threads_(threads), plan_(std::make_unique<gxnor_plan>()) {
    require(input.space == kPixels || (input.space >= 0 && input.space <= kMaxSpace));
    for (const int extent : input.shape) require(extent >= 1);
    values_.push_back({input.shape[0], input.shape[1], input.shape[2], input.space < 0 ? 255 : top_level(input.space),
                       input.space, {}});
    admit(values_[0]);
  }

  // Shape and bound of each layer's output: everything that can be wrong is found here or while states are read.
  void infer(int number) {
    const gxnor_layer& layer = layers_[number - 1];
    for (int i = 0; i < (layer.kind == GXNOR_ADD ? 2 : 1); ++i) {
      require(layer.inputs[i] >= 0 && layer.inputs[i] < number);
      values_[layer.inputs[i]].readers.push_back(number);
    }
    const Value& x = values_[layer.inputs[0]];
    Value y = {x.channels, x.height, x.width, x.bound, x.space, {}};
    const int64_t channels = x.channels;
    switch (layer.kind) {
      case GXNOR_CONV:
        require(layer.groups >= 1 && layer.out >= 1 && channels % layer.groups == 0 && layer.out % layer.groups == 0);
        y.height = windows(layer, 0, x.height, false);
        y.width = windows(layer, 1, x.width, false);
        weigh(layer, channels / layer.groups * layer.kernel[0] * layer.kernel[1], y);
        for (int axis = 0; axis < 2; ++axis)
          values_[layer.inputs[0]].margin[axis] = std::max(x.margin[axis], layer.padding[axis]);
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
        y.bound = times(x.bound, int64_t{layer.kernel[0]} * layer.kernel[1]);
        y.space = kSums;
        break;
      case GXNOR_ADD: {
        const Value& b = values_[layer.inputs[1]];
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
        require(number == count_ && x.height == 1 && x.width == 1);
        data<float>(layer, 0, channels);
        data<float>(layer, 1, channels);
        break;
      default: require(false);
    }
    require(number < count_ || layer.kind == GXNOR_SCALE);
    admit(y);
    values_.push_back(std::move(y));
  }

  void emit(int number) {
    const gxnor_layer& layer = layers_[number - 1];
    const Value &x = values_[layer.inputs[0]], &y = values_[number];
    if (y.buffer >= 0) return;  // made by an earlier step, fused
    switch (layer.kind) {
      case GXNOR_CONV:
      case GXNOR_DENSE: return convolve(number);
      case GXNOR_THRESHOLD: {
        Thresholds thresholds = thresholds_of(number, x.bound);
        return add<ThresholdStep>(x.buffer, make(number), std::move(thresholds));
      }
      case GXNOR_MAX_POOL:
        return add<MaxPoolStep>(x.buffer, make(number, plan_->buffers[x.buffer].form), pool(layer), std::vector<uint16_t>());
      case GXNOR_SUM_POOL: return add<SumPoolStep>(x.buffer, make(number), pool(layer));
      case GXNOR_ADD: {
        const int inputs[2] = {x.buffer, values_[layer.inputs[1]].buffer};
        return add<AddStep>(inputs, layer.factors, make(number));
      }
      case GXNOR_FLATTEN:
        // Dense layers read (C, H, W) as it lies: only their weights' order changes.
        if (only(y.readers, GXNOR_DENSE))
          values_[number].buffer = x.buffer;
        else
          add<FlattenStep>(x.buffer, make(number, plan_->buffers[x.buffer].form));
        return;
      case GXNOR_SCALE: {
        const float *scale = static_cast<const float*>(layer.data[0]), *bias = static_cast<const float*>(layer.data[1]);
        plan_->classes = x.channels;
        return add<ScaleStep>(x.buffer, std::vector<float>(scale, scale + x.channels),
                              std::vector<float>(bias, bias + x.channels));
      }
    }
  }

  void enter() {
    plan_->input_size = values_[0].elements();
    add<InputStep>(make(0, form_of(values_[0].space)), values_[0].space);
  }

  std::unique_ptr<gxnor_plan> done() { return std::move(plan_); }

 private:
  static void admit(const Value& value) {
    // One after the other, as the product of all could overflow.
    require(value.channels <= kMaxElements && value.height <= kMaxElements && value.width <= kMaxElements);
    require(value.channels * value.height <= kMaxElements && value.elements() <= kMaxElements);
    require(value.bound < INT32_MAX);
  }

  template <typename T>
  static void data(const gxnor_layer& layer, int index, int64_t count) {
    require(layer.data[index] && layer.sizes[index] == count * static_cast<int64_t>(sizeof(T)));
  }

  // The output of a layer with `fan` weights a channel.
  static void weigh(const gxnor_layer& layer, int64_t fan, Value& y) {
    require(layer.space >= 0 && layer.space <= kMaxSpace && fan <= INT32_MAX);
    data<uint8_t>(layer, 0, divide_up(fan * layer.out * States{nullptr, layer.space}.storage(), 8));
    y.bound = times(y.bound, fan * top_level(layer.space));
    y.channels = layer.out;
    y.space = kSums;
  }

  bool only(const std::vector<int>& readers, int kind) const {
    return std::all_of(readers.begin(), readers.end(), [&](int reader) { return layers_[reader - 1].kind == kind; });
  }

  // The layer of this kind that is a value's one reader, or 0.
  int sole_reader(int value, int kind) const {
    const std::vector<int>& readers = values_[value].readers;
    return readers.size() == 1 && only(readers, kind) ? readers[0] : 0;
  }

  Thresholds thresholds_of(int number, int64_t bound) const {
    const gxnor_layer& layer = layers_[number - 1];
    return Thresholds(layer.space, static_cast<int>(values_[number].channels), static_cast<const int32_t*>(layer.data[0]),
                      static_cast<const int8_t*>(layer.data[1]), bound);
  }

  static PoolWindow pool(const gxnor_layer& layer) {
    PoolWindow window;
    std::memcpy(window.kernel, layer.kernel, sizeof window.kernel);
    std::memcpy(window.stride, layer.stride, sizeof window.stride);
    std::memcpy(window.padding, layer.padding, sizeof window.padding);
    std::memcpy(window.dilation, layer.dilation, sizeof window.dilation);
    return window;
  }

  int make(Form form, const Value& value, const int margin[2]) {
    plan_->buffers.emplace_back(form, static_cast<int>(value.channels), static_cast<int>(value.height),
                                static_cast<int>(value.width), value.bound, margin[0], margin[1]);
    return static_cast<int>(plan_->buffers.size()) - 1;
  }
  int make(int value, Form form) { return values_[value].buffer = make(form, values_[value], values_[value].margin); }
  int make(int value) { return make(value, form_of(values_[value].space)); }

  template <typename T, typename... Arguments>
  void add(Arguments&&... arguments) {
    plan_->steps.push_back(std::make_unique<T>(std::forward<Arguments>(arguments)...));
  }

  // A buffer that the products can read: bit planes for spaces up to ternary, else int16, and int32 where that is too small.
  int operand(Value& x, int weight_space) {
    const Buffer& buffer = plan_->buffers[x.buffer];
    const bool wide = buffer.form == Form::bits ? weight_space > 1 : buffer.form == Form::int32;
    if (!wide || x.bound > INT16_MAX) return x.buffer;
    if (x.as_int16 < 0) {
      const Value as_it_lies = {buffer.channels, buffer.height, buffer.width, x.bound, x.space, {}};
      x.as_int16 = make(Form::int16, as_it_lies, x.margin);
      add<ConvertStep>(x.buffer, x.as_int16);
    }
    return x.as_int16;
  }

  void convolve(int number) {
    const gxnor_layer& layer = layers_[number - 1];
    const int input = operand(values_[layer.inputs[0]], layer.space);
    Geometry geometry = {};
    geometry.groups = 1;
    for (int axis = 0; axis < 2; ++axis) {
      geometry.kernel[axis] = axis == 0 ? plan_->buffers[input].height : plan_->buffers[input].width;
      geometry.stride[axis] = geometry.dilation[axis] = 1;
    }
    if (layer.kind == GXNOR_CONV) {
      geometry.groups = layer.groups;
      for (int axis = 0; axis < 2; ++axis) {
        geometry.kernel[axis] = layer.kernel[axis];
        geometry.stride[axis] = layer.stride[axis];
        geometry.padding[axis] = layer.padding[axis];
        geometry.dilation[axis] = layer.dilation[axis];
      }
    }

    // Thresholds are applied to the sums while they are in the cache; a max-pool before them moves behind.
    const int pooled = sole_reader(number, GXNOR_MAX_POOL);
    const int threshold = sole_reader(pooled ? pooled : number, GXNOR_THRESHOLD);
    std::unique_ptr<Thresholds> thresholds;
    int output;
    if (!threshold) {
      output = make(number);
    } else {
      thresholds = std::make_unique<Thresholds>(thresholds_of(threshold, values_[number].bound));
      const int no_margin[2] = {0, 0};
      output = pooled ? make(form_of(values_[threshold].space), values_[number], no_margin) : make(threshold);
    }
    const std::vector<uint16_t> flips = threshold && pooled ? thresholds->flips : std::vector<uint16_t>();
    const States states = {static_cast<const uint8_t*>(layer.data[0]), layer.space};
    add<Convolution>(plan_->buffers, input, output, geometry, states, kernels_, threads_, std::move(thresholds), !pooled);
    if (threshold) values_[number].buffer = output;
    if (threshold && pooled) {
      values_[pooled].buffer = output;
      add<MaxPoolStep>(output, make(threshold), pool(layers_[pooled - 1]), flips);
    }
  }

  const gxnor_layer* const layers_;
  const int count_;
  const Kernels& kernels_;
  const int threads_;
  std::unique_ptr<gxnor_plan> plan_;
  std::vector<Value> values_;
};

}  // namespace

std::unique_ptr<gxnor_plan> compile(const gxnor_input& input, const gxnor_layer* layers, int count, const Kernels& kernels,
                                    int threads, int32_t& layer) {
  layer = 0;
  require(count >= 1);
  Compiler compiler(input, layers, count, kernels, threads);
  for (layer = 1; layer <= count; ++layer) compiler.infer(layer);
  layer = 0;
  compiler.enter();
  for (layer = 1; layer <= count; ++layer) compiler.emit(layer);
  layer = 0;
  return compiler.done();
}

}  // namespace gxnor
