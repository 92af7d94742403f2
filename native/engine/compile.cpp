// Description to plan (compile.h): the step of every layer that none before has taken in, and its kernel.
#include "engine/compile.h"

#include <algorithm>
#include <cstring>

#include "engine/by_batch.h"
#include "engine/choice.h"
#include "engine/convolution.h"
#include "engine/depthwise.h"
#include "engine/fusion.h"
#include "engine/layers.h"
#include "engine/max_pool.h"
#include "engine/placement.h"
#include "engine/simplify.h"
#include "engine/winograd.h"

namespace gxnor {
namespace {

class Compiler {
 public:
  Compiler(const gxnor_layer* layers, std::vector<Value> values, const Kernels& kernels, int kernel, int threads)
      : kernels_(kernels), kernel_(kernel), threads_(threads), placed_(layers, std::move(values), plan_->buffers) {}

  void emit(int number) {
    const gxnor_layer& layer = placed_.layer(number);
    const Value &x = placed_[layer.inputs[0]], &y = placed_[number];
    if (y.buffer >= 0) return;  // made by an earlier step, fused
    switch (layer.kind) {
      case GXNOR_CONV:
      case GXNOR_DENSE: return convolve(number);
      case GXNOR_MAX_POOL:
        return add<MaxPoolStep>(x.buffer, placed_.place_as(number, x), static_cast<int>(x.channels), pool(layer),
                                std::vector<uint16_t>());
      case GXNOR_SUM_POOL: {
        const Fused fused = fuse(placed_, number, 0);
        const int output = make(placed_, number, fused);
        const Fold apart(static_cast<int>(x.channels));
        return add<SumPoolStep>(x.buffer, output, pool(layer), epilogue(placed_, kernels_, fused, apart));
      }
      case GXNOR_THRESHOLD:
      case GXNOR_ADD:
      case GXNOR_REQUANTIZE: {
        const char* const name = layer.kind == GXNOR_THRESHOLD ? "threshold"
                                 : layer.kind == GXNOR_ADD     ? "add"
                                                               : "requantize";
        const Fused fused = fuse(placed_, layer.inputs[0], number);
        return pointwise(fused, x.buffer, make(placed_, number, fused), name);
      }
      case GXNOR_FLATTEN:
        // Dense layers read (C, H, W) as it lies: only their weights' order changes.
        if (placed_.only(y.readers, GXNOR_DENSE))
          placed_[number].buffer = x.buffer;
        else
          add<FlattenStep>(x.buffer, placed_.make(number, placed_.of(x).form));
        return;
      case GXNOR_SCALE: {
        const float *scale = static_cast<const float*>(layer.data[0]), *bias = static_cast<const float*>(layer.data[1]);
        plan_->classes = x.elements();
        return add<ScaleStep>(x.buffer, std::vector<float>(scale, scale + x.channels),
                              std::vector<float>(bias, bias + x.channels));
      }
      case GXNOR_CONCAT: {
        std::vector<int> inputs = inputs_of(layer);
        for (int& input : inputs) input = placed_[input].buffer;
        const int whole = placed_[number].buffer = placed_.whole_of(number);
        if (std::any_of(inputs.begin(), inputs.end(), [&](int input) { return placed_.buffer(input).whole != whole; }))
          add<ConcatStep>(std::move(inputs), whole);
        return;
      }
      case GXNOR_PAD:
        placed_[number].buffer = placed_.within(x.buffer, placed_.of(x).around(layer.padding, layer.dilation));
        return;
      case GXNOR_UPSAMPLE: return add<UpsampleStep>(x.buffer, placed_.place_as(number, x), layer.factors);
      case GXNOR_CHANNELS: {
        const int32_t* const order = static_cast<const int32_t*>(layer.data[0]);
        const Form form = placed_.of(x).form;
        bool neighbours = form != Form::bits || (order[0] % 8 == 0 && layer.out % 8 == 0);
        for (int c = 1; c < layer.out; ++c) neighbours = neighbours && order[c] == order[0] + c;
        if (neighbours) {
          placed_[number].buffer = placed_.within(x.buffer, placed_.of(x).part(order[0], layer.out));
          return;
        }
        return add<ChannelsStep>(x.buffer, placed_.make(number, form), form,
                                 std::vector<int32_t>(order, order + layer.out));
      }
    }
  }

  void add_input() {
    plan_->input_size = placed_[0].elements();
    const Value& x = placed_[0];
    const bool bytes = x.space == kPixels && std::all_of(x.readers.begin(), x.readers.end(), [&](int reader) {
      const gxnor_layer& layer = placed_.layer(reader);
      return layer.kind == GXNOR_CONV && Convolution::suits_pixels(static_cast<int>(x.channels), layer.groups, layer.space);
    });
    add<InputStep>(placed_.make(0, bytes ? Form::pixels : placed_.form_of(0)), x.space);
  }

  std::unique_ptr<gxnor_plan> done() { return std::move(plan_); }

 private:
  // What an epilogue makes of a value that is there.
  void pointwise(const Fused& fused, int input, int output, const char* name) {
    const Fold fold = fold_of(placed_, fused, {output, input});
    const int from = placed_.folded(input, fold), to = placed_.folded(output, fold);
    add<PointwiseStep>(from, to, epilogue(placed_, kernels_, fused, fold), name);
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

  template <typename T, typename... Arguments>
  void add(Arguments&&... arguments) {
    plan_->steps.push_back(std::make_unique<T>(std::forward<Arguments>(arguments)...));
  }

  // A buffer that the products can read: bit planes for spaces up to ternary, but bytes for depthwise convolutions; of all
  // else as it lies.
  int operand(Value& x, const gxnor_layer& layer) {
    const Buffer& buffer = placed_.of(x);
    if (buffer.form != Form::bits || !placed_.wants_bytes(layer, x)) return x.buffer;
    if (x.as_bytes < 0) {
      const Value as_it_lies = {buffer.channels, buffer.height, buffer.width, x.bound, x.space, {}};
      x.as_bytes = placed_.make(Form::int8, as_it_lies, x.margin);
      pointwise(Fused(layer.inputs[0]), x.buffer, x.as_bytes, "convert");
    }
    return x.as_bytes;
  }

  void convolve(int number) {
    const gxnor_layer& layer = placed_.layer(number);
    Value& x = placed_[layer.inputs[0]];
    Geometry geometry = {};
    geometry.groups = 1;
    const Buffer& as_it_lies = placed_.of(x);
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

    const int input = operand(x, layer);
    const Form form = placed_.buffer(input).form;
    const bool depthwise =
        layer.kind == GXNOR_CONV && Depthwise::suits(layer, x.channels) &&
        (form == Form::int16 || form == Form::int32 || Depthwise::suits_bytes(layer, x.channels, x.space));

    // Thresholds, and what else an epilogue does, are applied to the sums while they are in the cache, of 2 x 2 pooled sums
    // to the largest; any other max-pool before them moves after.
    const int pooled = placed_.sole_reader(number, GXNOR_MAX_POOL);
    const int threshold = pooled ? placed_.sole_reader(pooled, GXNOR_THRESHOLD) : 0;
    const bool cells = threshold && !depthwise && of_cells(placed_.layer(pooled), placed_[number], placed_[pooled]);
    const bool after = threshold && !cells;  // a step of its own
    Fused fused(number);
    int output;
    if (!threshold) {
      fused = fuse(placed_, number, 0);
      output = make(placed_, number, fused);
    } else {
      const int no_margin[2] = {0, 0};
      fused.threshold = fused.last = threshold;
      if (cells) fused.pool = pooled;
      output = after ? placed_.make(placed_.form_of(threshold), placed_[number], no_margin) : placed_.make(threshold);
      placed_[number].buffer = placed_[pooled].buffer = output;
    }
    const Fold apart(static_cast<int>(placed_[number].channels));
    Fold fold = apart;
    if (depthwise ? geometry.stride[1] == 1 : geometry.groups == 1 && !cells)
      fold = depthwise ? fold_of(placed_, fused, {output, input}) : fold_of(placed_, fused, {output});
    const States states = {static_cast<const uint8_t*>(layer.data[0]), layer.space};
    const Xnor xnor = xnor_of(geometry, x.space, layer.space, fold);
    const int top = static_cast<int>(top_level(x.space));
    Choice choice;
    if (layer.kind == GXNOR_CONV)
      choice = choose(kernels_, kernel_, plan_->buffers[input], top, geometry, layer.space, placed_[number], xnor, fold);
    std::unique_ptr<Step> direct, winograd;
    if (depthwise || choice.kernel == GXNOR_DIRECT || choice.direct_below > 1) {
      const int to = placed_.folded(output, fold);
      Epilogue end = epilogue(placed_, kernels_, fused, fold, !after);
      if (depthwise)
        direct = std::make_unique<Depthwise>(plan_->buffers, input, to, geometry, states, fold, std::move(end));
      else
        direct = std::make_unique<Convolution>(plan_->buffers, input, to, geometry, states, xnor, kernels_, threads_, fold,
                                               std::move(end));
    }
    const WinogradKernels* const kernels = kernels_.winograd(choice.kernel);
    if (winograd_side(choice.kernel) == 2)
      winograd = std::make_unique<Winograd<2>>(plan_->buffers, input, output, geometry, states, top, *kernels, threads_,
                                               epilogue(placed_, kernels_, fused, apart, !after));
    if (winograd_side(choice.kernel) == 4)
      winograd = std::make_unique<Winograd<4>>(plan_->buffers, input, output, geometry, states, top, *kernels, threads_,
                                               epilogue(placed_, kernels_, fused, apart, !after));
    if (direct && winograd)
      add<ByBatch>(std::move(direct), std::move(winograd), choice.direct_below);
    else
      plan_->steps.push_back(direct ? std::move(direct) : std::move(winograd));
    if (after)
      add<MaxPoolStep>(output, placed_.make(threshold), plan_->buffers[output].channels, pool(placed_.layer(pooled)),
                       epilogue(placed_, kernels_, fused, apart).thresholds->flips);
  }

  const Kernels& kernels_;
  const int kernel_, threads_;
  std::unique_ptr<gxnor_plan> plan_ = std::make_unique<gxnor_plan>();
  Placement placed_;  // of values in the plan's buffers
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
