// What the engine is checked against: programs as docs/format.md has them, one image, one integer after the other.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "engine/engine.h"

constexpr int64_t kCost = 1 << 15;  // products of one input, all images together

inline void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FINDING: %s\n", what);
  std::abort();
}

inline int64_t levels_of(int N) { return (int64_t{1} << N) + 1; }
inline int64_t level(int N, int64_t index) { return N == 0 ? 2 * index - 1 : index - (int64_t{1} << (N - 1)); }
inline int storage(int N) { return N == 0 ? 1 : N == 1 ? 2 : N <= 3 ? 4 : 8; }
inline int64_t states_bytes(int64_t count, int N) { return (count * storage(N) + 7) / 8; }

struct Shape {
  int64_t c, h, w;
  int64_t size() const { return c * h * w; }
};

inline int64_t extent(const gxnor_layer& l, int axis, int64_t n) {
  const int64_t free = n + 2 * int64_t{l.padding[axis]} - int64_t{l.dilation[axis]} * (l.kernel[axis] - 1) - 1;
  const bool up = l.kind == GXNOR_MAX_POOL && l.ceil_mode;
  int64_t count = (up ? static_cast<int64_t>(std::ceil(static_cast<double>(free) / l.stride[axis]))
                      : static_cast<int64_t>(std::floor(static_cast<double>(free) / l.stride[axis]))) + 1;
  if (up && (count - 1) * l.stride[axis] >= n + l.padding[axis]) --count;
  return count;
}

// The values that a concatenation reads.
inline std::vector<int32_t> parts(const gxnor_layer& l) {
  const int32_t* const numbers = static_cast<const int32_t*>(l.data[0]);
  return {numbers, numbers + l.sizes[0] / 4};
}

inline Shape output(const gxnor_layer& l, const std::vector<Shape>& shapes) {
  Shape x = shapes[l.inputs[0]];
  switch (l.kind) {
    case GXNOR_CONCAT:
      x.c = 0;
      for (const int32_t part : parts(l)) x.c += shapes[part].c;
      return x;
    case GXNOR_PAD: return {x.c, x.h + l.padding[0] + l.dilation[0], x.w + l.padding[1] + l.dilation[1]};
    case GXNOR_UPSAMPLE: return {x.c, x.h * l.factors[0], x.w * l.factors[1]};
    case GXNOR_CHANNELS: return {l.out, x.h, x.w};
    case GXNOR_CONV: return {l.out, extent(l, 0, x.h), extent(l, 1, x.w)};
    case GXNOR_DENSE: return {l.out, 1, 1};
    case GXNOR_MAX_POOL:
    case GXNOR_SUM_POOL: return {x.c, extent(l, 0, x.h), extent(l, 1, x.w)};
    case GXNOR_FLATTEN: return {x.size(), 1, 1};
    default: return x;
  }
}

inline int64_t products(const gxnor_layer& l, const Shape& x, const Shape& y) {
  const int64_t window = int64_t{l.kernel[0]} * l.kernel[1];
  switch (l.kind) {
    case GXNOR_CONV: return y.size() * (x.c / l.groups) * window;
    case GXNOR_DENSE: return y.size() * x.c;
    case GXNOR_MAX_POOL:
    case GXNOR_SUM_POOL: return y.size() * window;
    case GXNOR_THRESHOLD: return y.size() * (int64_t{1} << l.space);
    default: return y.size();
  }
}

struct Program {
  gxnor_input input = {};
  std::vector<gxnor_layer> layers;
  std::vector<Shape> shapes;
  std::vector<double> bounds;            // while the program grows
  std::vector<std::vector<char>> memory;  // exactly as long as the description says

  void tensor(int index, const void* from, int64_t bytes) {
    memory.emplace_back(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    layers.back().data[index] = memory.back().data();
    layers.back().sizes[index] = bytes;
  }

  bool infer() {
    shapes = {{input.shape[0], input.shape[1], input.shape[2]}};
    for (const gxnor_layer& l : layers) shapes.push_back(output(l, shapes));
    return true;
  }
  int64_t cost() const {
    int64_t sum = shapes[0].size();
    for (size_t i = 0; i < layers.size(); ++i) {
      sum += products(layers[i], shapes[layers[i].inputs[0]], shapes[i + 1]);
      if (sum > kCost) break;
    }
    return sum;
  }
  bool run(const uint8_t* x, std::vector<float>& logits) const;
};

inline std::vector<int64_t> layer_output(const gxnor_layer& l, const Shape& in, const Shape& out,
                                         const std::vector<int64_t>& x, const std::vector<int64_t>& second) {
  const auto* bytes = static_cast<const uint8_t*>(l.data[0]);
  const auto weight = [&](int64_t i) {
    const int bits = storage(l.space), each = 8 / bits;
    const int64_t index = bytes[i / each] >> i % each * bits & ((1 << bits) - 1);
    expect(index < levels_of(l.space), "accepted a weight that is no state");
    return level(l.space, index);
  };
  std::vector<int64_t> y;
  y.reserve(out.size());
  for (int64_t c = 0; c < out.c; ++c)
    for (int64_t i = 0; i < out.h; ++i)
      for (int64_t j = 0; j < out.w; ++j) {
        const int64_t at = (c * out.h + i) * out.w + j;
        int64_t sum = 0, largest = INT64_MIN;
        switch (l.kind) {
          case GXNOR_CONV:
          case GXNOR_MAX_POOL:
          case GXNOR_SUM_POOL: {
            const int64_t fan = l.kind == GXNOR_CONV ? in.c / l.groups : 1;
            const int64_t first = l.kind == GXNOR_CONV ? c / (out.c / l.groups) * fan : c;
            for (int64_t f = 0; f < fan; ++f)
              for (int64_t u = 0; u < l.kernel[0]; ++u)
                for (int64_t v = 0; v < l.kernel[1]; ++v) {
                  const int64_t row = i * l.stride[0] - l.padding[0] + u * l.dilation[0];
                  const int64_t column = j * l.stride[1] - l.padding[1] + v * l.dilation[1];
                  if (row < 0 || row >= in.h || column < 0 || column >= in.w) continue;
                  const int64_t value = x[((first + f) * in.h + row) * in.w + column];
                  sum += l.kind == GXNOR_CONV ? value * weight(((c * fan + f) * l.kernel[0] + u) * l.kernel[1] + v) : value;
                  largest = std::max(largest, value);
                }
            if (l.kind == GXNOR_MAX_POOL) expect(largest != INT64_MIN, "accepted a pool with a window of padding alone");
            y.push_back(l.kind == GXNOR_MAX_POOL ? largest : sum);
            break;
          }
          case GXNOR_DENSE:
            for (int64_t f = 0; f < in.c; ++f) sum += x[f] * weight(c * in.c + f);
            y.push_back(sum);
            break;
          case GXNOR_THRESHOLD: {
            const int64_t steps = int64_t{1} << l.space;
            const int32_t* row = static_cast<const int32_t*>(l.data[0]) + c * steps;
            for (int64_t k = 0; k < steps; ++k) sum += static_cast<const int8_t*>(l.data[1])[c] * x[at] >= row[k];
            y.push_back(level(l.space, sum));
            break;
          }
          case GXNOR_ADD: y.push_back(l.factors[0] * x[at] + l.factors[1] * second[at]); break;
          case GXNOR_REQUANTIZE: {
            const int64_t product = static_cast<const int32_t*>(l.data[0])[c] * x[at];
            y.push_back((product + static_cast<const int64_t*>(l.data[1])[c]) >> l.factors[0]);
            break;
          }
          case GXNOR_PAD: {
            const int64_t row = i - l.padding[0], column = j - l.padding[1];
            const bool inside = row >= 0 && row < in.h && column >= 0 && column < in.w;
            y.push_back(inside ? x[(c * in.h + row) * in.w + column] : 0);
            break;
          }
          case GXNOR_UPSAMPLE: y.push_back(x[(c * in.h + i / l.factors[0]) * in.w + j / l.factors[1]]); break;
          case GXNOR_CHANNELS:
            y.push_back(x[(static_cast<const int32_t*>(l.data[0])[c] * in.h + i) * in.w + j]);
            break;
          default: y.push_back(x[at]);
        }
        expect(y.back() < INT32_MAX && y.back() > -INT32_MAX, "accepted a program whose integers leave int32");
      }
  return y;
}

inline bool Program::run(const uint8_t* x, std::vector<float>& logits) const {
  std::vector<std::vector<int64_t>> values(1);
  for (int64_t i = 0; i < shapes[0].size(); ++i) {
    if (input.space >= 0 && x[i] >= levels_of(input.space)) return false;
    values[0].push_back(input.space < 0 ? 2 * x[i] - 255 : level(input.space, x[i]));
  }
  for (size_t i = 0; i + 1 < layers.size(); ++i) {
    const gxnor_layer& l = layers[i];
    if (l.kind == GXNOR_CONCAT) {
      std::vector<int64_t> all;
      for (const int32_t part : parts(l)) all.insert(all.end(), values[part].begin(), values[part].end());
      values.push_back(std::move(all));
      continue;
    }
    values.push_back(layer_output(l, shapes[l.inputs[0]], shapes[i + 1], values[l.inputs[0]],
                                  values[l.kind == GXNOR_ADD ? l.inputs[1] : 0]));
  }
  const gxnor_layer& last = layers.back();
  for (size_t c = 0; c < values[last.inputs[0]].size(); ++c) {
    const float product = static_cast<float>(values[last.inputs[0]][c]) * static_cast<const float*>(last.data[0])[c];
    logits.push_back(product + static_cast<const float*>(last.data[1])[c]);
  }
  return true;
}
