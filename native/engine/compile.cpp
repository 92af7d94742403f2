// Description to plan (compile.h): the form of every value, which layers are fused, and which kernel a layer gets.
#include "engine/compile.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "engine/by_batch.h"
#include "engine/choice.h"
#include "engine/convolution.h"
#include "engine/depthwise.h"
#include "engine/layers.h"
#include "engine/values.h"
#include "engine/winograd.h"

namespace gxnor {
namespace {

Form form_of(int space) {
  return space == kSums ? Form::int32 : space == kPixels || space == 7 ? Form::int16 : space <= 1 ? Form::bits : Form::int8;
}

class Compiler {
 public:
  Compiler(const gxnor_layer* layers, std::vector<Value> values, const Kernels& kernels, int kernel, int threads)
      : layers_(layers), kernels_(kernels), kernel_(kernel), threads_(threads), values_(std::move(values)) {}

  void emit(int number) {
    const gxnor_layer& layer = layers_[number - 1];
    const Value &x = values_[layer.inputs[0]], &y = values_[number];
    if (y.buffer >= 0) return;  // made by an earlier step, fused
    switch (layer.kind) {
      case GXNOR_CONV:
      case GXNOR_DENSE: return convolve(number);
      case GXNOR_MAX_POOL:
        return add<MaxPoolStep>(x.buffer, make(number, plan_->buffers[x.buffer].form), static_cast<int>(x.channels),
                                pool(layer), std::vector<uint16_t>());
      case GXNOR_SUM_POOL: {
        const Fused fused = fuse(number, 0);
        return add<SumPoolStep>(x.buffer, make(number, fused), pool(layer), fused.epilogue);
      }
      case GXNOR_THRESHOLD:
      case GXNOR_ADD:
      case GXNOR_REQUANTIZE: {
        const char* const name = layer.kind == GXNOR_THRESHOLD ? "threshold"
                                 : layer.kind == GXNOR_ADD     ? "add"
                                                               : "requantize";
        const Fused fused = fuse(layer.inputs[0], number);
        return add<PointwiseStep>(x.buffer, make(number, fused), fused.epilogue, name);
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
        plan_->classes = x.elements();
        return add<ScaleStep>(x.buffer, std::vector<float>(scale, scale + x.channels),
                              std::vector<float>(bias, bias + x.channels));
      }
      case GXNOR_CONCAT: {
        std::vector<int> inputs = inputs_of(layer);
        for (int& input : inputs) input = values_[input].buffer;
        const int whole = values_[number].buffer = whole_of(number);
        if (std::any_of(inputs.begin(), inputs.end(), [&](int input) { return plan_->buffers[input].whole != whole; }))
          add<ConcatStep>(std::move(inputs), whole);
        return;
      }
      case GXNOR_PAD: return add<PadStep>(x.buffer, make(number), layer.padding);
      case GXNOR_UPSAMPLE:
        return add<UpsampleStep>(x.buffer, make(number, plan_->buffers[x.buffer].form), layer.factors);
      case GXNOR_CHANNELS: {
        const int32_t* const order = static_cast<const int32_t*>(layer.data[0]);
        const Form form = plan_->buffers[x.buffer].form;
        return add<ChannelsStep>(x.buffer, make(number, form), form, std::vector<int32_t>(order, order + layer.out));
      }
    }
  }

  void add_input() {
    plan_->input_size = values_[0].elements();
    const Value& x = values_[0];
    const bool bytes = x.space == kPixels && std::all_of(x.readers.begin(), x.readers.end(), [&](int reader) {
      const gxnor_layer& layer = layers_[reader - 1];
      return layer.kind == GXNOR_CONV && Convolution::suits_pixels(static_cast<int>(x.channels), layer.groups, layer.space);
    });
    add<InputStep>(make(0, bytes ? Form::pixels : form_of(0)), x.space);
  }

  std::unique_ptr<gxnor_plan> done() { return std::move(plan_); }

 private:
  bool only(const std::vector<int>& readers, int kind) const {
    return std::all_of(readers.begin(), readers.end(), [&](int reader) { return layers_[reader - 1].kind == kind; });
  }

  // The layer of this kind that is a value's one reader, or 0.
  int sole_reader(int value, int kind) const {
    const std::vector<int>& readers = values_[value].readers;
    return readers.size() == 1 && only(readers, kind) ? readers[0] : 0;
  }

  // What is done with a value before it is written, and the layer whose output that is.
  struct Fused {
    Epilogue epilogue;
    int last;
  };

  // The layers after a value that an epilogue does: a requantization, then a sum with a value that is there, then
  // thresholds, or some of them. `reader` is the first one where the value is there as well, else 0.
  Fused fuse(int value, int reader) const {
    const auto residual = std::make_shared<Residual>();
    std::shared_ptr<const Thresholds> thresholds;
    const auto takes = [&](const gxnor_layer& layer) {
      switch (layer.kind) {
        case GXNOR_REQUANTIZE:
          if (residual->at >= 0 || !residual->multiplier.empty()) return false;
          residual->requantize(static_cast<int>(values_[value].channels), layer.factors[0],
                               static_cast<const int32_t*>(layer.data[0]), static_cast<const int64_t*>(layer.data[1]));
          return true;
        case GXNOR_ADD: {
          const int own = layer.inputs[0] == value ? 0 : 1, other = values_[layer.inputs[1 - own]].buffer;
          if (residual->at >= 0 || other < 0) return false;
          residual->add(other, plan_->buffers[other], layer.factors[own], layer.factors[1 - own]);
          return true;
        }
        default: return false;
      }
    };
    const auto sole = [&] { return values_[value].readers.size() == 1 ? values_[value].readers[0] : 0; };
    for (reader = reader ? reader : sole(); reader && takes(layers_[reader - 1]); reader = sole()) value = reader;
    if (reader && layers_[reader - 1].kind == GXNOR_THRESHOLD) {
      thresholds = std::make_shared<Thresholds>(thresholds_of(reader, values_[value].bound));
      value = reader;
    }
    const bool changes = residual->at >= 0 || !residual->multiplier.empty();
    return {{std::move(thresholds), true, false, kernels_, changes ? residual : nullptr}, value};
  }

  // The buffer of what is made of value `number`; those between are in no other.
  int make(int number, const Fused& fused) {
    const int buffer = place(fused.last);
    for (; number != fused.last; number = values_[number].readers[0]) values_[number].buffer = buffer;
    return buffer;
  }

  // The buffer of a concatenation, made with the first of its parts that is written there.
  int whole_of(int number) {
    const auto found = wholes_.find(number);
    if (found != wholes_.end()) return found->second;
    return wholes_[number] = make(form_of(number), values_[number], values_[number].margin);
  }

  // The buffer of a value; in that of a concatenation which alone reads it, where it is whole bytes there.
  int place(int number) {
    const int reader = sole_reader(number, GXNOR_CONCAT);
    const Form form = form_of(number);
    if (!reader || form != form_of(reader)) return make(number);
    int64_t first = 0;
    for (const int input : inputs_of(layers_[reader - 1])) {
      if (input == number) break;
      first += values_[input].channels;
    }
    const int64_t channels = values_[number].channels;
    if (form == Form::bits && (first % 8 || channels % 8)) return make(number);
    const int whole = whole_of(reader);
    plan_->buffers.push_back(plan_->buffers[whole].part(whole, static_cast<int>(first), static_cast<int>(channels)));
    return values_[number].buffer = static_cast<int>(plan_->buffers.size()) - 1;
  }

  Thresholds thresholds_of(int number, int64_t bound) const {
    const gxnor_layer& layer = layers_[number - 1];
    return Thresholds(layer.space, static_cast<int>(values_[number].channels), static_cast<const int32_t*>(layer.data[0]),
                      static_cast<const int8_t*>(layer.data[1]), bound);
  }

  // Whether a pool takes the largest of each 2 x 2 positions.
  static bool of_cells(const gxnor_layer& pool, const Value& from, const Value& to) {
    return both(pool.kernel, 2) && both(pool.stride, 2) && both(pool.padding, 0) && both(pool.dilation, 1) &&
           2 * to.height <= from.height && 2 * to.width <= from.width;
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
                                static_cast<int>(value.width), margin[0], margin[1]);
    return static_cast<int>(plan_->buffers.size()) - 1;
  }
  int make(int value, Form form) { return values_[value].buffer = make(form, values_[value], values_[value].margin); }
  int make(int value) { return make(value, form_of(value)); }

  template <typename T, typename... Arguments>
  void add(Arguments&&... arguments) {
    plan_->steps.push_back(std::make_unique<T>(std::forward<Arguments>(arguments)...));
  }

  // Whether a product reads states of one or two bits as bytes.
  static bool wants_bytes(const gxnor_layer& layer, const Value& x) {
    const bool product = layer.kind == GXNOR_CONV || layer.kind == GXNOR_DENSE;
    return product && (layer.space > 1 || Depthwise::suits_bytes(layer, x.channels, x.space));
  }

  // How a value is best held for those that read it.
  Form form_of(int number) const {
    const Value& value = values_[number];
    const bool bytes = std::all_of(value.readers.begin(), value.readers.end(),
                                   [&](int reader) { return wants_bytes(layers_[reader - 1], value); });
    const Form form = gxnor::form_of(value.space);
    return form == Form::bits && bytes ? Form::int8 : form;
  }

  // A buffer that the products can read: bit planes for spaces up to ternary, but for depthwise convolutions, int8 for other
  // states, int16 for sums, and int32 where that is too small.
  int operand(Value& x, const gxnor_layer& layer) {
    const Buffer& buffer = plan_->buffers[x.buffer];
    const bool wide = buffer.form == Form::bits ? wants_bytes(layer, x) : buffer.form == Form::int32;
    if (!wide || x.bound > INT16_MAX) return x.buffer;
    if (x.narrow < 0) {
      const Value as_it_lies = {buffer.channels, buffer.height, buffer.width, x.bound, x.space, {}};
      x.narrow = make(buffer.form == Form::bits ? Form::int8 : Form::int16, as_it_lies, x.margin);
      add<PointwiseStep>(x.buffer, x.narrow, Epilogue{nullptr, false, false, kernels_}, "convert");
    }
    return x.narrow;
  }

  // How a convolution is computed.
  struct Choice {
    gxnor_kernel kernel = GXNOR_DIRECT;
    double direct_below = 0;  // images a thread: with fewer the direct product is faster
  };

  Choice choose(const gxnor_layer& layer, const Buffer& input, int top, const Value& output, const Geometry& geometry,
                Xnor xnor) const {
    if (layer.kind != GXNOR_CONV) return {};
    std::vector<gxnor_kernel> ways;
    const auto consider = [&](gxnor_kernel kernel, bool suits) {
      if (suits && kernels_.winograd(kernel) && (kernel_ == GXNOR_CHOOSE || kernel_ == kernel)) ways.push_back(kernel);
    };
    consider(GXNOR_WINOGRAD2, Winograd<2>::suits(input, geometry, top, layer.space, false));
    consider(GXNOR_WINOGRAD4, Winograd<4>::suits(input, geometry, top, layer.space, false));
    consider(GXNOR_WINOGRAD2_FIP, Winograd<2>::suits(input, geometry, top, layer.space, true));
    consider(GXNOR_WINOGRAD4_FIP, Winograd<4>::suits(input, geometry, top, layer.space, true));
    if (ways.empty()) return {};
    if (kernel_ != GXNOR_CHOOSE) return {ways[0]};
    Choice choice;
    const int outputs = static_cast<int>(output.channels);
    const double direct = direct_cost(kernels_, input.form, xnor, input.channels, outputs, output.height, output.width);
    double least = direct;
    for (const gxnor_kernel kernel : ways) {
      const WinogradCost cost = winograd_cost(kernels_, kernel, input.channels, outputs, output.height, output.width);
      if (cost.image >= least) continue;
      choice = {kernel, cost.expand / (direct - cost.image)};
      least = cost.image;
    }
    return choice.direct_below > kMostImages ? Choice() : choice;  // never so many
  }

  void convolve(int number) {
    const gxnor_layer& layer = layers_[number - 1];
    Geometry geometry = {};
    geometry.groups = 1;
    const Buffer& as_it_lies = plan_->buffers[values_[layer.inputs[0]].buffer];
    for (int axis = 0; axis < 2; ++axis) {
      geometry.kernel[axis] = axis == 0 ? as_it_lies.height : as_it_lies.width;
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

    const int input = operand(values_[layer.inputs[0]], layer);
    const Form form = plan_->buffers[input].form;
    const bool depthwise = layer.kind == GXNOR_CONV && Depthwise::suits(layer, values_[layer.inputs[0]].channels) &&
                           (form == Form::int16 || form == Form::int32 ||
                            Depthwise::suits_bytes(layer, values_[layer.inputs[0]].channels, values_[layer.inputs[0]].space));

    // Thresholds, and what else an epilogue does, are applied to the sums while they are in the cache, of 2 x 2 pooled sums
    // to the largest; any other max-pool before them moves after.
    const int pooled = sole_reader(number, GXNOR_MAX_POOL), threshold = pooled ? sole_reader(pooled, GXNOR_THRESHOLD) : 0;
    const bool cells = threshold && !depthwise && of_cells(layers_[pooled - 1], values_[number], values_[pooled]);
    const bool after = threshold && !cells;  // a step of its own
    std::shared_ptr<const Thresholds> thresholds;
    if (threshold) thresholds = std::make_shared<Thresholds>(thresholds_of(threshold, values_[number].bound));
    const Fused fused = threshold ? Fused{{thresholds, !after, cells, kernels_}, threshold} : fuse(number, 0);
    int output;
    if (!threshold) {
      output = make(number, fused);
    } else {
      const int no_margin[2] = {0, 0};
      output = after ? make(form_of(threshold), values_[number], no_margin) : make(threshold);
      values_[number].buffer = values_[pooled].buffer = output;
    }
    const States states = {static_cast<const uint8_t*>(layer.data[0]), layer.space};
    const Epilogue& epilogue = fused.epilogue;
    const Xnor xnor = xnor_of(geometry, values_[layer.inputs[0]].space, layer.space);
    const int top = static_cast<int>(top_level(values_[layer.inputs[0]].space));
    const Choice choice = choose(layer, plan_->buffers[input], top, values_[number], geometry, xnor);
    std::unique_ptr<Step> direct, winograd;
    if (depthwise)
      direct = std::make_unique<Depthwise>(plan_->buffers, input, output, geometry, states, epilogue);
    else if (choice.kernel == GXNOR_DIRECT || choice.direct_below > 1)
      direct =
          std::make_unique<Convolution>(plan_->buffers, input, output, geometry, states, xnor, kernels_, threads_, epilogue);
    const WinogradKernels* const kernels = kernels_.winograd(choice.kernel);
    if (winograd_side(choice.kernel) == 2)
      winograd = std::make_unique<Winograd<2>>(plan_->buffers, input, output, geometry, states, top, *kernels, threads_,
                                               epilogue);
    if (winograd_side(choice.kernel) == 4)
      winograd = std::make_unique<Winograd<4>>(plan_->buffers, input, output, geometry, states, top, *kernels, threads_,
                                               epilogue);
    if (direct && winograd)
      add<ByBatch>(std::move(direct), std::move(winograd), choice.direct_below);
    else
      plan_->steps.push_back(direct ? std::move(direct) : std::move(winograd));
    if (after)
      add<MaxPoolStep>(output, make(threshold), plan_->buffers[output].channels, pool(layers_[pooled - 1]),
                       epilogue.thresholds->flips);
  }

  const gxnor_layer* const layers_;
  const Kernels& kernels_;
  const int kernel_, threads_;
  std::vector<Value> values_;
  std::map<int, int> wholes_;  // buffers of concatenations
  std::unique_ptr<gxnor_plan> plan_ = std::make_unique<gxnor_plan>();
};

}  // namespace

std::unique_ptr<gxnor_plan> compile(const gxnor_input& input, const gxnor_layer* layers, int count, const Kernels& kernels,
                                    int kernel, int threads, int32_t& layer) {
  Compiler compiler(layers, infer(input, layers, count, layer), kernels, kernel, threads);
  compiler.add_input();
  for (layer = 1; layer <= count; ++layer) compiler.emit(layer);
  layer = 0;
  return compiler.done();
}

}  // namespace gxnor
