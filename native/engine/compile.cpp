// Description to plan (compile.h): the form of every value, which layers are fused, and which kernel a layer gets.
#include "engine/compile.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "engine/by_batch.h"
#include "engine/choice.h"
#include "engine/convolution.h"
#include "engine/depthwise.h"
#include "engine/fold.h"
#include "engine/layers.h"
#include "engine/max_pool.h"
#include "engine/simplify.h"
#include "engine/values.h"
#include "engine/winograd.h"

namespace gxnor {
namespace {

Form form_of(const Value& value) {
  if (value.space == kSums && value.bound > INT16_MAX) return Form::int32;
  return value.space < 0 || value.space == 7 ? Form::int16 : value.space <= 1 ? Form::bits : Form::int8;
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
        return add<MaxPoolStep>(x.buffer, place_as(number, x), static_cast<int>(x.channels), pool(layer),
                                std::vector<uint16_t>());
      case GXNOR_SUM_POOL: {
        const Fused fused = fuse(number, 0);
        const int output = make(number, fused);
        return add<SumPoolStep>(x.buffer, output, pool(layer), epilogue(fused, Fold(static_cast<int>(x.channels))));
      }
      case GXNOR_THRESHOLD:
      case GXNOR_ADD:
      case GXNOR_REQUANTIZE: {
        const char* const name = layer.kind == GXNOR_THRESHOLD ? "threshold"
                                 : layer.kind == GXNOR_ADD     ? "add"
                                                               : "requantize";
        const Fused fused = fuse(layer.inputs[0], number);
        return pointwise(fused, x.buffer, make(number, fused), name);
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
      case GXNOR_PAD:
        values_[number].buffer = within(x.buffer, plan_->buffers[x.buffer].around(layer.padding, layer.dilation));
        return;
      case GXNOR_UPSAMPLE: return add<UpsampleStep>(x.buffer, place_as(number, x), layer.factors);
      case GXNOR_CHANNELS: {
        const int32_t* const order = static_cast<const int32_t*>(layer.data[0]);
        const Form form = plan_->buffers[x.buffer].form;
        bool neighbours = form != Form::bits || (order[0] % 8 == 0 && layer.out % 8 == 0);
        for (int c = 1; c < layer.out; ++c) neighbours = neighbours && order[c] == order[0] + c;
        if (neighbours) {
          values_[number].buffer = within(x.buffer, plan_->buffers[x.buffer].part(order[0], layer.out));
          return;
        }
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

  // Layers after a value that an epilogue does, by number, or 0: a requantization, a sum with a value that is there, a pool
  // and thresholds. `last` is the value that is written.
  struct Fused {
    int value, last;
    int requantize = 0, add = 0, pool = 0, threshold = 0;

    explicit Fused(int value) : value(value), last(value) {}
  };

  // `reader` is the first such layer where the value is there as well, else 0.
  Fused fuse(int value, int reader) const {
    Fused fused(value);
    const auto takes = [&](int number) {
      const gxnor_layer& layer = layers_[number - 1];
      if (fused.add) return false;
      if (layer.kind == GXNOR_REQUANTIZE && !fused.requantize) {
        fused.requantize = number;
      } else if (layer.kind == GXNOR_ADD && other_of(layer, fused.last) >= 0) {
        fused.add = number;
      } else {
        return false;
      }
      fused.last = number;
      return true;
    };
    const auto sole = [&] { return values_[fused.last].readers.size() == 1 ? values_[fused.last].readers[0] : 0; };
    for (reader = reader ? reader : sole(); reader && takes(reader);) reader = sole();
    if (reader && layers_[reader - 1].kind == GXNOR_THRESHOLD) fused.threshold = fused.last = reader;
    return fused;
  }

  // The buffer of what a sum adds to `value`, or -1.
  int other_of(const gxnor_layer& sum, int value) const {
    return values_[sum.inputs[sum.inputs[0] == value ? 1 : 0]].buffer;
  }
  int other_of(const Fused& fused) const {
    return fused.add ? other_of(layers_[fused.add - 1], fused.requantize ? fused.requantize : fused.value) : -1;
  }

  // flip: whether to finish the levels (thresholds.h).
  Epilogue epilogue(const Fused& fused, const Fold& fold, bool flip = true) {
    std::shared_ptr<const Thresholds> thresholds;
    std::shared_ptr<Residual> residual;
    if (fused.requantize || fused.add) residual = std::make_shared<Residual>();
    if (fused.requantize) {
      const gxnor_layer& layer = layers_[fused.requantize - 1];
      residual->requantize(fold, layer.factors[0], static_cast<const int32_t*>(layer.data[0]),
                           static_cast<const int64_t*>(layer.data[1]));
    }
    if (fused.add) {
      const gxnor_layer& layer = layers_[fused.add - 1];
      const int own = layer.inputs[0] == (fused.requantize ? fused.requantize : fused.value) ? 0 : 1;
      const int other = folded(other_of(fused), fold);
      residual->add(other, plan_->buffers[other], layer.factors[own], layer.factors[1 - own]);
    }
    if (fused.threshold) {
      const gxnor_layer& layer = layers_[fused.threshold - 1];
      thresholds = std::make_shared<Thresholds>(layer.space, fold, static_cast<const int32_t*>(layer.data[0]),
                                                static_cast<const int8_t*>(layer.data[1]),
                                                values_[layer.inputs[0]].bound);
    }
    return {std::move(thresholds), flip, fused.pool > 0, kernels_, std::move(residual)};
  }

  // The buffer of what is made of value `number`; those between are in no other.
  int make(int number, const Fused& fused) {
    const int buffer = place(fused.last);
    for (; number != fused.last; number = values_[number].readers[0]) values_[number].buffer = buffer;
    return buffer;
  }

  // The pixels of these buffers, and of the one that is added, that are computed as one.
  Fold fold_of(const Fused& fused, std::vector<int> buffers) const {
    std::vector<const Buffer*> all;
    if (fused.add) buffers.push_back(other_of(fused));
    for (const int buffer : buffers) all.push_back(&plan_->buffers[buffer]);
    return Fold(all);
  }

  // The same buffer, with such pixels.
  int folded(int buffer, const Fold& fold) {
    return fold.pixels == 1 ? buffer : within(buffer, fold(plan_->buffers[buffer]));
  }

  // A view of a buffer's pixels, as one more buffer.
  int within(int buffer, Buffer view) {
    view.whole = plan_->buffers[buffer].whole < 0 ? buffer : plan_->buffers[buffer].whole;
    plan_->buffers.push_back(view);
    return static_cast<int>(plan_->buffers.size()) - 1;
  }

  // What an epilogue makes of a value that is there.
  void pointwise(const Fused& fused, int input, int output, const char* name) {
    const Fold fold = fold_of(fused, {output, input});
    add<PointwiseStep>(folded(input, fold), folded(output, fold), epilogue(fused, fold), name);
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
    return values_[number].buffer =
               within(whole, plan_->buffers[whole].part(static_cast<int>(first), static_cast<int>(channels)));
  }

  // The same, of what has the form of value x.
  int place_as(int number, const Value& x) {
    const Form form = plan_->buffers[x.buffer].form;
    return form == form_of(number) ? place(number) : make(number, form);
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
    const Form form = gxnor::form_of(value);
    const auto bytes = [&](int reader) {
      switch (layers_[reader - 1].kind) {
        case GXNOR_MAX_POOL:
        case GXNOR_PAD:
        case GXNOR_UPSAMPLE:
        case GXNOR_CHANNELS: return form_of(reader) == Form::int8;  // their output has the form of their input
        default: return wants_bytes(layers_[reader - 1], value);
      }
    };
    return form == Form::bits && std::all_of(value.readers.begin(), value.readers.end(), bytes) ? Form::int8 : form;
  }

  // A buffer that the products can read: bit planes for spaces up to ternary, but bytes for depthwise convolutions; of all
  // else as it lies.
  int operand(Value& x, const gxnor_layer& layer) {
    const Buffer& buffer = plan_->buffers[x.buffer];
    if (buffer.form != Form::bits || !wants_bytes(layer, x)) return x.buffer;
    if (x.as_bytes < 0) {
      const Value as_it_lies = {buffer.channels, buffer.height, buffer.width, x.bound, x.space, {}};
      x.as_bytes = make(Form::int8, as_it_lies, x.margin);
      pointwise(Fused(layer.inputs[0]), x.buffer, x.as_bytes, "convert");
    }
    return x.as_bytes;
  }

  // How a convolution is computed.
  struct Choice {
    gxnor_kernel kernel = GXNOR_DIRECT;
    double direct_below = 0;  // images a thread: with fewer the direct product is faster
  };

  Choice choose(const gxnor_layer& layer, const Buffer& input, int top, const Value& output, const Geometry& geometry,
                Xnor xnor, const Fold& fold) const {
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
    const double direct = direct_cost(kernels_, input.form, xnor, input.channels, fold.lanes(), output.height,
                                      static_cast<int>(output.width) / fold.pixels, fold.pixels);
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
    Fused fused(number);
    int output;
    if (!threshold) {
      fused = fuse(number, 0);
      output = make(number, fused);
    } else {
      const int no_margin[2] = {0, 0};
      fused.threshold = fused.last = threshold;
      if (cells) fused.pool = pooled;
      output = after ? make(form_of(threshold), values_[number], no_margin) : make(threshold);
      values_[number].buffer = values_[pooled].buffer = output;
    }
    const Fold apart(static_cast<int>(values_[number].channels));
    Fold fold = apart;
    if (depthwise ? geometry.stride[1] == 1 : geometry.groups == 1 && !cells)
      fold = depthwise ? fold_of(fused, {output, input}) : fold_of(fused, {output});
    const States states = {static_cast<const uint8_t*>(layer.data[0]), layer.space};
    const Xnor xnor = xnor_of(geometry, values_[layer.inputs[0]].space, layer.space, fold);
    const int top = static_cast<int>(top_level(values_[layer.inputs[0]].space));
    const Choice choice = choose(layer, plan_->buffers[input], top, values_[number], geometry, xnor, fold);
    std::unique_ptr<Step> direct, winograd;
    if (depthwise || choice.kernel == GXNOR_DIRECT || choice.direct_below > 1) {
      const int to = folded(output, fold);
      Epilogue end = epilogue(fused, fold, !after);
      if (depthwise)
        direct = std::make_unique<Depthwise>(plan_->buffers, input, to, geometry, states, fold, std::move(end));
      else
        direct = std::make_unique<Convolution>(plan_->buffers, input, to, geometry, states, xnor, kernels_, threads_, fold,
                                               std::move(end));
    }
    const WinogradKernels* const kernels = kernels_.winograd(choice.kernel);
    if (winograd_side(choice.kernel) == 2)
      winograd = std::make_unique<Winograd<2>>(plan_->buffers, input, output, geometry, states, top, *kernels, threads_,
                                               epilogue(fused, apart, !after));
    if (winograd_side(choice.kernel) == 4)
      winograd = std::make_unique<Winograd<4>>(plan_->buffers, input, output, geometry, states, top, *kernels, threads_,
                                               epilogue(fused, apart, !after));
    if (direct && winograd)
      add<ByBatch>(std::move(direct), std::move(winograd), choice.direct_below);
    else
      plan_->steps.push_back(direct ? std::move(direct) : std::move(winograd));
    if (after)
      add<MaxPoolStep>(output, make(threshold), plan_->buffers[output].channels, pool(layers_[pooled - 1]),
                       epilogue(fused, apart).thresholds->flips);
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
  const std::vector<Value> values = infer(input, layers, count, layer);
  const Simplified program(layers, count, values);
  const int all = static_cast<int>(program.layers.size());
  Compiler compiler(program.layers.data(), infer(input, program.layers.data(), all, layer), kernels, kernel, threads);
  compiler.add_input();
  for (int number = 1; number <= all; ++number) {
    layer = program.origin[number - 1];
    compiler.emit(number);
  }
  layer = 0;
  return compiler.done();
}

}  // namespace gxnor
