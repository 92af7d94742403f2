// From arbitrary bytes to programs: layers that fit each other, and damage to them.
#pragma once

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "interpreter.h"

constexpr int64_t kTensor = 1 << 13;      // bytes of one tensor
constexpr int64_t kThresholds = 1 << 20;  // of one layer

struct Choices {
  const uint8_t* at;
  size_t left;
  uint32_t state = 1;

  int byte() { return left ? --left, *at++ : 0; }
  int below(int n) { return byte() % n; }
  bool one_in(int n) { return byte() % n == n - 1; }  // not when the bytes have run out
  template <size_t n>
  int among(const int (&values)[n]) {
    return values[byte() % n];
  }
  void seed() { state = 2 * static_cast<uint32_t>(byte()) + 1; }
  uint32_t random() {  // for the content of tensors, which is too long to be spelled out
    state ^= state << 13, state ^= state >> 17, state ^= state << 5;
    return state * 0x9e3779b1u >> 8;
  }
};

// A program whose layers fit, by and large.
class Grower {
 public:
  Grower(Choices& choices, Program& program) : choices_(choices), p_(program) {
    p_.input.space = choices_.below(8) - 1;
    p_.input.shape[0] = choices_.among(kChannels);
    for (int axis = 1; axis < 3; ++axis)
      p_.input.shape[axis] = choices_.one_in(8) ? choices_.byte() + 1 : choices_.below(9) + 1;
    if (choices_.one_in(3)) p_.input.shape[1] = 1;
    p_.bounds = {p_.input.space < 0 ? 255.0 : std::max(1.0, std::ldexp(1, p_.input.space - 1))};
    p_.infer();
    for (int left = choices_.below(9); left > 0; --left) grow();
    if (shape().h * shape().w > 1 || choices_.one_in(4)) add(GXNOR_FLATTEN);
    if (choices_.one_in(2)) dense();
    gxnor_layer& end = add(GXNOR_SCALE);
    end.out = static_cast<int32_t>(shape().size());
    std::vector<float> scale(shape().c), bias(shape().c);
    for (float& s : scale) s = static_cast<float>(choices_.random() % 2001) / 1000 - 1;
    for (float& b : bias) b = static_cast<float>(choices_.random() % 2001) / 100 - 10;
    p_.tensor(0, scale.data(), scale.size() * sizeof(float));
    p_.tensor(1, bias.data(), bias.size() * sizeof(float));
  }

 private:
  static constexpr int kChannels[] = {1,  2,  3,  4,  5,  7,  8,  9,  15,  16,  17,  24,
                                      31, 32, 33, 48, 63, 64, 65, 72, 100, 128, 130, 200};

  const Shape& shape() const { return p_.shapes.back(); }

  gxnor_layer& add(int kind, double gain = 1) {
    gxnor_layer l = {};
    l.kind = kind;
    l.inputs[0] = static_cast<int32_t>(p_.layers.size());
    l.groups = 1;
    for (int axis = 0; axis < 2; ++axis) l.kernel[axis] = l.stride[axis] = l.dilation[axis] = 1;
    p_.layers.push_back(l);
    p_.bounds.push_back(p_.bounds.back() * gain);
    p_.shapes.push_back(kind == GXNOR_CONCAT ? shape() : output(l, p_.shapes));
    return p_.layers.back();
  }

  void reshape() { p_.shapes.back() = output(p_.layers.back(), p_.shapes); }

  void window(gxnor_layer& l, bool dilated) {
    const Shape& x = p_.shapes[l.inputs[0]];
    for (int axis = 0; axis < 2; ++axis) {
      const int n = static_cast<int>(axis == 0 ? x.h : x.w);
      l.padding[axis] = choices_.among({0, 0, 0, 1, 1, 2, 3});
      l.dilation[axis] = dilated ? choices_.among({1, 1, 1, 2, 3}) : 1;
      l.kernel[axis] = 1 + choices_.below(std::min(5, (n + 2 * l.padding[axis] - 1) / l.dilation[axis] + 1));
      l.stride[axis] = choices_.among({1, 1, 2, 3, 4});
      if (l.kind == GXNOR_MAX_POOL) {
        l.padding[axis] = std::min(l.padding[axis], (l.dilation[axis] * (l.kernel[axis] - 1) + 1) / 2);
        if (l.padding[axis] && l.dilation[axis] > n) l.dilation[axis] = 1;
        if (n + 2 * l.padding[axis] < l.dilation[axis] * (l.kernel[axis] - 1) + 1) l.kernel[axis] = 1, l.padding[axis] = 0;
      }
    }
    reshape();
  }

  void weights(gxnor_layer& l, int64_t fan) {
    l.space = choices_.among({0, 1, 1, 1, 2, 3, 4, 5, 7});
    const int64_t count = fan * l.out;
    if (states_bytes(count, l.space) > kTensor) return;  // refused, for its size
    std::vector<uint8_t> packed(states_bytes(count, l.space));
    const int each = 8 / storage(l.space), mode = choices_.below(6);
    choices_.seed();
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t random = choices_.random(), states = static_cast<uint32_t>(levels_of(l.space));
      const uint32_t index = mode == 0 ? 0 : mode == 1 ? states - 1 : mode == 2 ? states / 2 : random % states;
      packed[i / each] |= static_cast<uint8_t>(index << i % each * storage(l.space));
    }
    p_.tensor(0, packed.data(), static_cast<int64_t>(packed.size()));
    p_.bounds.back() = p_.bounds[l.inputs[0]] * static_cast<double>(fan) * std::max(1.0, std::ldexp(1, l.space - 1));
  }

  void dense() {
    const int64_t fan = shape().c;
    gxnor_layer& l = add(GXNOR_DENSE);
    l.out = choices_.among(kChannels);
    reshape();
    weights(l, fan);
  }

  void threshold() {
    const double bound = p_.bounds.back();
    gxnor_layer& l = add(GXNOR_THRESHOLD);
    l.space = choices_.among({0, 1, 1, 1, 2, 3, 4, 5, 6, 7});
    const int64_t steps = int64_t{1} << l.space;
    if (shape().c * steps > kThresholds) return;  // refused, for its size
    const double spread = choices_.among({1, 4, 30, 1000, INT_MAX});
    const bool constant = choices_.one_in(4);
    choices_.seed();
    std::vector<int32_t> rows(shape().c * steps);
    std::vector<int8_t> sign(shape().c);
    for (int32_t& t : rows) {
      const double random = static_cast<double>(choices_.random() & 0xffff) / 0x8000 - 1;
      t = static_cast<int32_t>(random * std::min({spread, bound + 2, 2147483647.0}));
      if (constant && choices_.random() % 4 == 0) t = choices_.random() % 2 ? INT32_MIN : INT32_MAX;
    }
    for (int64_t c = 0; c < shape().c; ++c) std::sort(&rows[c * steps], &rows[c * steps] + steps);
    for (int8_t& s : sign) s = choices_.random() % 2 ? 1 : -1;
    p_.tensor(0, rows.data(), static_cast<int64_t>(rows.size() * sizeof(int32_t)));
    p_.tensor(1, sign.data(), static_cast<int64_t>(sign.size()));
    p_.bounds.back() = std::max(1.0, std::ldexp(1, l.space - 1));
  }

  void grow() {
    const Shape x = shape();
    const int kind = p_.bounds.back() > 1e7 ? 4 : choices_.below(x.size() > kTensor ? 10 : 16);  // from 10 on values may grow
    switch (kind) {
      case 0:
      case 1:
      case 2: {
        gxnor_layer& l = add(GXNOR_CONV);
        window(l, true);
        l.out = choices_.among(kChannels);
        if (choices_.one_in(3)) {
          const int wanted = choices_.byte() + 1;
          for (int g = 1; g <= std::min<int64_t>(wanted, x.c); ++g)
            if (x.c % g == 0) l.groups = g;
          l.out = (l.out + l.groups - 1) / l.groups * l.groups;
        }
        reshape();
        weights(l, x.c / l.groups * l.kernel[0] * l.kernel[1]);
        if (choices_.one_in(3)) {  // the order that is fused with most steps
          gxnor_layer& pool = add(GXNOR_MAX_POOL);
          pool.ceil_mode = choices_.below(2);
          window(pool, true);
          threshold();
        }
        return;
      }
      case 3:
      case 4:
      case 5: return threshold();
      case 6: {
        gxnor_layer& l = add(GXNOR_MAX_POOL);
        l.ceil_mode = choices_.below(2);
        return window(l, true);
      }
      case 7: {
        gxnor_layer& l = add(GXNOR_SUM_POOL);
        window(l, false);
        p_.bounds.back() *= l.kernel[0] * l.kernel[1];
        return;
      }
      case 8: {  // adds an earlier value of the same shape, or goes on from it
        const int other = choices_.below(static_cast<int>(p_.shapes.size()));
        const Shape& b = p_.shapes[other];
        if (b.c != x.c || b.h != x.h || b.w != x.w) return;
        gxnor_layer& l = add(GXNOR_ADD);
        l.inputs[1] = other;
        for (int32_t& factor : l.factors)
          factor = choices_.one_in(8) ? choices_.byte() * 1000 - 100000 : choices_.below(7) - 3;
        p_.bounds.back() = std::abs(l.factors[0]) * p_.bounds[l.inputs[0]] + std::abs(l.factors[1]) * p_.bounds[other];
        return;
      }
      case 9:
        if (x.h * x.w == 1 || choices_.one_in(2)) return dense_after_flatten();
        add(GXNOR_FLATTEN);
        return;
      case 10:
      case 11: {
        requantize();
        return choices_.one_in(2) ? threshold() : void();
      }
      case 12: {  // thresholds after a concatenation may take its place
        concat(choices_.one_in(2));
        return choices_.one_in(2) ? threshold() : void();
      }
      case 13: {
        gxnor_layer& l = add(GXNOR_PAD);
        for (int axis = 0; axis < 2; ++axis) l.padding[axis] = choices_.below(4), l.dilation[axis] = choices_.below(4);
        return reshape();
      }
      case 14: {
        gxnor_layer& l = add(GXNOR_UPSAMPLE);
        for (int axis = 0; axis < 2; ++axis) l.factors[axis] = 1 + choices_.below(3);
        return reshape();
      }
      case 15: return channels();
    }
  }

  void requantize() {
    const int64_t channels = shape().c;
    gxnor_layer& l = add(GXNOR_REQUANTIZE);
    l.factors[0] = choices_.among({0, 1, 4, 10, 20, 33, 62});
    const double least = std::ldexp(1, l.factors[0]), largest = choices_.among({1, 30, 1000, 1 << 20});
    const double gain = std::min({largest * least / p_.bounds[l.inputs[0]], 2e9, 4e18 / p_.bounds[l.inputs[0]]});
    const double reach = std::min(largest * least, 4e18) / 2;
    choices_.seed();
    std::vector<int32_t> multiplier(channels);
    std::vector<int64_t> offset(channels);
    const auto random = [&] { return static_cast<double>(choices_.random() & 0xffff) / 0x8000 - 1; };
    for (int32_t& m : multiplier) m = static_cast<int32_t>(random() * gain);
    for (int64_t& o : offset) o = static_cast<int64_t>(random() * reach);
    p_.tensor(0, multiplier.data(), channels * static_cast<int64_t>(sizeof(int32_t)));
    p_.tensor(1, offset.data(), channels * static_cast<int64_t>(sizeof(int64_t)));
    p_.bounds.back() = 2 * largest + 1;
  }

  // The last value and others of its extents, each requantized or as it is.
  void concat(bool requantized) {
    std::vector<int32_t> numbers;
    const Shape x = shape();
    for (int left = 2 + choices_.below(2); left > 0; --left) {
      int32_t number = choices_.below(static_cast<int>(p_.shapes.size()));
      const Shape& part = p_.shapes[number];
      if (numbers.empty() || part.h != x.h || part.w != x.w) number = static_cast<int32_t>(p_.layers.size());
      if (requantized && number == static_cast<int32_t>(p_.layers.size())) {
        requantize();
        number = static_cast<int32_t>(p_.layers.size());
      }
      numbers.push_back(number);
    }
    double bound = 0;
    for (const int32_t number : numbers) bound = std::max(bound, p_.bounds[number]);
    gxnor_layer& l = add(GXNOR_CONCAT);
    l.inputs[0] = numbers[0], l.inputs[1] = numbers[1];
    p_.tensor(0, numbers.data(), static_cast<int64_t>(numbers.size() * sizeof(int32_t)));
    reshape();
    p_.bounds.back() = bound;
  }

  // Neighbours, or any.
  void channels() {
    const int64_t all = shape().c;
    gxnor_layer& l = add(GXNOR_CHANNELS);
    const bool neighbours = choices_.one_in(2);
    const int64_t first = choices_.byte() % all / 8 * 8;
    l.out = static_cast<int32_t>(neighbours ? 1 + choices_.byte() % (all - first) : choices_.among(kChannels));
    if (neighbours && choices_.one_in(2)) l.out = std::max(8, l.out / 8 * 8);
    if (neighbours) l.out = static_cast<int32_t>(std::min<int64_t>(l.out, all - first));
    choices_.seed();
    std::vector<int32_t> order(l.out);
    for (int32_t c = 0; c < l.out; ++c)
      order[c] = static_cast<int32_t>(neighbours ? first + c : choices_.random() % static_cast<uint32_t>(all));
    p_.tensor(0, order.data(), static_cast<int64_t>(order.size() * sizeof(int32_t)));
    reshape();
  }

  void dense_after_flatten() {
    if (shape().h * shape().w > 1) add(GXNOR_FLATTEN);
    dense();
  }

  Choices& choices_;
  Program& p_;
};

inline int wild(Choices& choices) {
  static constexpr int kWild[] = {0,  1,     2,     3,       7,       8,       16,      255,  -1,
                                  -2, 65535, 65536, 1 << 20, 1 << 26, INT_MAX, INT_MIN, 40000};
  if (choices.one_in(4)) {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint32_t>(choices.byte());
    return static_cast<int>(value);
  }
  return choices.among(kWild);
}

inline void damage(Choices& choices, Program& p) {
  gxnor_layer& l = p.layers[choices.below(static_cast<int>(p.layers.size()))];
  switch (choices.below(4)) {
    case 0: {  // any integer of the layer
      int32_t* words = reinterpret_cast<int32_t*>(&l);
      words[choices.below(offsetof(gxnor_layer, data) / sizeof(int32_t))] = wild(choices);
      break;
    }
    case 1: {  // a tensor of another size
      const int index = choices.below(2);
      const int64_t size =
          std::clamp<int64_t>(choices.one_in(4) ? choices.byte() : l.sizes[index] + choices.below(9) - 4, 0, kTensor);
      std::vector<char> longer(static_cast<size_t>(size));
      if (l.data[index] && size)
        std::memcpy(longer.data(), l.data[index], static_cast<size_t>(std::min(size, l.sizes[index])));
      p.memory.push_back(std::move(longer));
      l.data[index] = choices.one_in(4) ? nullptr : p.memory.back().data();
      l.sizes[index] = choices.one_in(8) && !l.data[index] ? wild(choices) : size;
      break;
    }
    case 2: {  // a byte of a tensor
      const int index = choices.below(2);
      if (!l.data[index] || !l.sizes[index]) break;
      const int64_t at = (choices.byte() * 256 + choices.byte()) % l.sizes[index];
      static_cast<char*>(const_cast<void*>(l.data[index]))[at] = static_cast<char>(choices.byte());
      break;
    }
    case 3: {
      if (choices.one_in(2))
        p.input.space = wild(choices);
      else
        p.input.shape[choices.below(3)] = wild(choices);
      break;
    }
  }
}
