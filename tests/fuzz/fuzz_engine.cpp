// Feeds the engine's C interface programs made of arbitrary bytes, and compares every run with a brute-force interpreter.
//
//   clang++ -std=c++17 -O2 -g -ffp-contract=off -pthread -fsanitize=fuzzer,address,undefined
//     -fno-sanitize-coverage=trace-cmp -fno-sanitize-recover=undefined -Inative
//     tests/fuzz/fuzz_engine.cpp native/*.cpp -o /tmp/fuzz_engine
//   mkdir -p /tmp/corpus && /tmp/fuzz_engine /tmp/corpus -max_total_time=600 -max_len=512 -len_control=0 -timeout=60
//
// The bytes are choices: layers that fit each other, then, for some inputs, damage to any field, size or tensor. What the
// engine accepts is run on every instruction set and kernel, thread count, several batches, and by two threads at once.
// All must give the interpreter's logits; statuses must not depend on the instruction set. For some inputs an allocation
// fails.
// No read out of bounds, overflow or leak is left to find: the sanitizers watch.

#include <algorithm>
#include <atomic>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "engine.h"

GXNOR_API void gxnor_repack(const uint8_t*, int64_t, const uint16_t*, int32_t, uint8_t*, int64_t);

namespace {

std::atomic<int> allocations_left{INT_MAX};  // INT_MAX: none fails

void* allocate(size_t size, size_t alignment) {
  if (allocations_left.load(std::memory_order_relaxed) != INT_MAX && allocations_left.fetch_sub(1) <= 0)
    throw std::bad_alloc();
  void* memory = alignment ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment) : std::malloc(size);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t size) { return allocate(size, 0); }
void* operator new(size_t size, std::align_val_t alignment) { return allocate(size, static_cast<size_t>(alignment)); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

constexpr int64_t kCost = 1 << 15;    // products of one input, all images together
constexpr int64_t kTensor = 1 << 13;  // bytes of one tensor
constexpr int64_t kThresholds = 1 << 20;  // of one layer

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "FINDING: %s\n", what);
  std::abort();
}

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

int64_t levels_of(int N) { return (int64_t{1} << N) + 1; }
int64_t level(int N, int64_t index) { return N == 0 ? 2 * index - 1 : index - (int64_t{1} << (N - 1)); }
int storage(int N) { return N == 0 ? 1 : N == 1 ? 2 : N <= 3 ? 4 : 8; }
int64_t states_bytes(int64_t count, int N) { return (count * storage(N) + 7) / 8; }

struct Shape {
  int64_t c, h, w;
  int64_t size() const { return c * h * w; }
};

int64_t extent(const gxnor_layer& l, int axis, int64_t n) {
  const int64_t free = n + 2 * int64_t{l.padding[axis]} - int64_t{l.dilation[axis]} * (l.kernel[axis] - 1) - 1;
  const bool up = l.kind == GXNOR_MAX_POOL && l.ceil_mode;
  int64_t count = (up ? static_cast<int64_t>(std::ceil(static_cast<double>(free) / l.stride[axis]))
                      : static_cast<int64_t>(std::floor(static_cast<double>(free) / l.stride[axis]))) + 1;
  if (up && (count - 1) * l.stride[axis] >= n + l.padding[axis]) --count;
  return count;
}

Shape output(const gxnor_layer& l, const Shape& x) {
  switch (l.kind) {
    case GXNOR_CONV: return {l.out, extent(l, 0, x.h), extent(l, 1, x.w)};
    case GXNOR_DENSE: return {l.out, 1, 1};
    case GXNOR_MAX_POOL:
    case GXNOR_SUM_POOL: return {x.c, extent(l, 0, x.h), extent(l, 1, x.w)};
    case GXNOR_FLATTEN: return {x.size(), 1, 1};
    default: return x;
  }
}

int64_t products(const gxnor_layer& l, const Shape& x, const Shape& y) {
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

  // What the engine's answer is checked against: shapes and integers as docs/format.md has them, one image.
  bool infer() {
    shapes = {{input.shape[0], input.shape[1], input.shape[2]}};
    for (const gxnor_layer& l : layers) shapes.push_back(output(l, shapes[l.inputs[0]]));
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

std::vector<int64_t> layer_output(const gxnor_layer& l, const Shape& in, const Shape& out, const std::vector<int64_t>& x,
                                  const std::vector<int64_t>& second) {
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
          default: y.push_back(x[at]);
        }
        expect(y.back() < INT32_MAX && y.back() > -INT32_MAX, "accepted a program whose integers leave int32");
      }
  return y;
}

bool Program::run(const uint8_t* x, std::vector<float>& logits) const {
  std::vector<std::vector<int64_t>> values(1);
  for (int64_t i = 0; i < shapes[0].size(); ++i) {
    if (input.space >= 0 && x[i] >= levels_of(input.space)) return false;
    values[0].push_back(input.space < 0 ? 2 * x[i] - 255 : level(input.space, x[i]));
  }
  for (size_t i = 0; i + 1 < layers.size(); ++i) {
    const gxnor_layer& l = layers[i];
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

// A program whose layers fit, by and large.
class Grower {
 public:
  Grower(Choices& choices, Program& program) : choices_(choices), p_(program) {
    p_.input.space = choices_.below(6) - 1;
    p_.input.shape[0] = choices_.among(kChannels);
    for (int axis = 1; axis < 3; ++axis) p_.input.shape[axis] = choices_.one_in(8) ? choices_.byte() + 1 : choices_.below(9) + 1;
    if (choices_.one_in(3)) p_.input.shape[1] = 1;
    p_.bounds = {p_.input.space < 0 ? 255.0 : std::max(1.0, std::ldexp(1, p_.input.space - 1))};
    p_.infer();
    for (int left = choices_.below(9); left > 0; --left) grow();
    if (shape().h * shape().w > 1 || choices_.one_in(4)) add(GXNOR_FLATTEN);
    if (choices_.one_in(2)) dense();
    add(GXNOR_SCALE);
    std::vector<float> scale(shape().c), bias(shape().c);
    for (float& s : scale) s = static_cast<float>(choices_.random() % 2001) / 1000 - 1;
    for (float& b : bias) b = static_cast<float>(choices_.random() % 2001) / 100 - 10;
    p_.tensor(0, scale.data(), scale.size() * sizeof(float));
    p_.tensor(1, bias.data(), bias.size() * sizeof(float));
  }

 private:
  static constexpr int kChannels[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 72, 100, 128, 130, 200};

  const Shape& shape() const { return p_.shapes.back(); }

  gxnor_layer& add(int kind, double gain = 1) {
    gxnor_layer l = {};
    l.kind = kind;
    l.inputs[0] = static_cast<int32_t>(p_.layers.size());
    l.groups = 1;
    for (int axis = 0; axis < 2; ++axis) l.kernel[axis] = l.stride[axis] = l.dilation[axis] = 1;
    p_.layers.push_back(l);
    p_.bounds.push_back(p_.bounds.back() * gain);
    p_.shapes.push_back(output(p_.layers.back(), shape()));
    return p_.layers.back();
  }

  void reshape() { p_.shapes.back() = output(p_.layers.back(), p_.shapes[p_.layers.back().inputs[0]]); }

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
    l.space = choices_.among({0, 1, 1, 1, 2, 3, 4, 7});
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
    l.space = choices_.among({0, 1, 1, 1, 2, 3, 4, 7});
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
    const int kind = p_.bounds.back() > 1e7 ? 4 : choices_.below(10);
    const Shape x = shape();
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
        for (int32_t& factor : l.factors) factor = choices_.one_in(8) ? choices_.byte() * 1000 - 100000 : choices_.below(7) - 3;
        p_.bounds.back() = std::abs(l.factors[0]) * p_.bounds[l.inputs[0]] + std::abs(l.factors[1]) * p_.bounds[other];
        return;
      }
      case 9:
        if (x.h * x.w == 1 || choices_.one_in(2)) return dense_after_flatten();
        add(GXNOR_FLATTEN);
        return;
    }
  }

  void dense_after_flatten() {
    if (shape().h * shape().w > 1) add(GXNOR_FLATTEN);
    dense();
  }

  Choices& choices_;
  Program& p_;
};

int wild(Choices& choices) {
  static constexpr int kWild[] = {0, 1, 2, 3, 7, 8, 16, 255, -1, -2, 65535, 65536, 1 << 20, 1 << 26, INT_MAX, INT_MIN, 40000};
  if (choices.one_in(4)) {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<uint32_t>(choices.byte());
    return static_cast<int>(value);
  }
  return choices.among(kWild);
}

void damage(Choices& choices, Program& p) {
  gxnor_layer& l = p.layers[choices.below(static_cast<int>(p.layers.size()))];
  switch (choices.below(4)) {
    case 0: {  // any integer of the layer
      int32_t* words = reinterpret_cast<int32_t*>(&l);
      words[choices.below(offsetof(gxnor_layer, data) / sizeof(int32_t))] = wild(choices);
      break;
    }
    case 1: {  // a tensor of another size
      const int index = choices.below(2);
      const int64_t size = std::clamp<int64_t>(choices.one_in(4) ? choices.byte() : l.sizes[index] + choices.below(9) - 4, 0, kTensor);
      std::vector<char> longer(static_cast<size_t>(size));
      if (l.data[index] && size) std::memcpy(longer.data(), l.data[index], static_cast<size_t>(std::min(size, l.sizes[index])));
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

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  return a.size() == b.size();
}

struct Batch {
  std::vector<uint8_t> x;
  std::vector<float> logits;
  int64_t size;
  bool good = true;
};

void check_run(const gxnor_plan* plan, const Batch& batch, int threads) {
  std::vector<float> logits(batch.logits.size());
  const int32_t status = gxnor_plan_run(plan, batch.x.data(), batch.size, threads, logits.data(), nullptr);
  expect(status == (batch.good ? GXNOR_OK : GXNOR_BAD_STATE), "a run that should have gone otherwise");
  if (batch.good) expect(same(logits, batch.logits), "logits that are not the interpreter's");
}

void check_repack(Choices& choices) {
  const int wide = choices.among({8, 10, 12});
  std::vector<uint8_t> packed(choices.byte());
  std::vector<uint16_t> table(256);
  choices.seed();
  for (uint8_t& byte : packed) byte = static_cast<uint8_t>(choices.random());
  for (uint16_t& entry : table) entry = static_cast<uint16_t>(choices.random() % (1u << wide));
  std::vector<uint8_t> out((packed.size() * wide + 7) / 8, 255);
  if (choices.one_in(2)) out.resize(choices.byte() % (out.size() + 1));
  gxnor_repack(packed.data(), static_cast<int64_t>(packed.size()), table.data(), wide, out.data(), static_cast<int64_t>(out.size()));
  for (size_t bit = 0; bit < 8 * out.size(); ++bit) {
    const int expected = bit / wide < packed.size() ? table[packed[bit / wide]] >> bit % wide & 1 : 0;
    expect((out[bit / 8] >> bit % 8 & 1) == expected, "repacked bits that are others");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Choices choices = {data, size};
  const int mode = choices.byte(), run_mode = choices.byte();
  if (mode == 254) {
    check_repack(choices);
    return 0;
  }
  Program p;
  Grower(choices, p);
  if (mode % 4 == 3)
    for (int left = 1 + mode / 64; left > 0; --left) damage(choices, p);
  const int32_t count = mode == 255 ? choices.below(static_cast<int>(p.layers.size()) + 1) - 1 : static_cast<int32_t>(p.layers.size());
  const int threads = run_mode % 8 - 1;

  std::vector<gxnor_plan*> plans;
  int32_t expected = -1, expected_layer = -1;
  for (int i = 0; const char* isa = gxnor_isa(i / 2); ++i) {
    gxnor_plan* plan = nullptr;
    int32_t layer = -1;
    const int32_t kernel = i % 2 ? GXNOR_WINOGRAD : GXNOR_DIRECT;
    const int32_t status = gxnor_plan_create(&p.input, p.layers.data(), count, isa, kernel, threads, &plan, &layer);
    expect((status == GXNOR_OK) == (plan != nullptr), "a plan without success, or success without a plan");
    expect(status != GXNOR_NO_KERNELS && status != GXNOR_NO_MEMORY, "an instruction set or memory that was missing");
    expect(expected < 0 || (status == expected && layer == expected_layer), "statuses depend on the instruction set");
    expected = status, expected_layer = layer;
    if (plan) plans.push_back(plan);
  }
  if (plans.empty()) return 0;
  expect(count == static_cast<int32_t>(p.layers.size()), "accepted a program without its end");
  p.infer();

  const int64_t cost = p.cost();
  if (cost <= kCost) {
    std::vector<Batch> batches(2);
    const int sizes[2] = {1 + choices.below(5), choices.one_in(4) ? 1 + choices.below(70) : 1 + choices.below(3)};
    choices.seed();
    for (int i = 0; i < 2; ++i) {
      Batch& batch = batches[i];
      batch.size = std::min<int64_t>(sizes[i], kCost / cost);
      const uint32_t top = p.input.space < 0 ? 256 : static_cast<uint32_t>(levels_of(p.input.space));
      batch.x.resize(static_cast<size_t>(batch.size * p.shapes[0].size()));
      for (uint8_t& x : batch.x) x = static_cast<uint8_t>(choices.random() % top);
      if (choices.one_in(16)) batch.x[choices.byte() % batch.x.size()] = static_cast<uint8_t>(choices.byte());
      for (int64_t image = 0; image < batch.size; ++image)
        batch.good = p.run(batch.x.data() + image * p.shapes[0].size(), batch.logits) && batch.good;
      if (!batch.good) batch.logits.resize(static_cast<size_t>(batch.size * p.shapes.back().c));
    }
    for (const gxnor_plan* plan : plans) {
      const int64_t bytes = gxnor_plan_bytes(plan);
      for (int turn = 0; turn < 3; ++turn) check_run(plan, batches[turn % 2], turn == 2 ? threads : 1);
      if (run_mode % 16 == 15) {
        std::thread other(check_run, plan, batches[0], threads);
        check_run(plan, batches[1], threads);
        other.join();
      }
      expect(bytes > 0 && bytes == gxnor_plan_bytes(plan), "a plan that changes");
      expect(gxnor_plan_run(plan, nullptr, 0, threads, nullptr, nullptr) == GXNOR_OK, "an empty batch that fails");
    }
    if (run_mode >= 192) {  // an allocation fails, while the plan is made or in its first run
      gxnor_plan* plan = nullptr;
      int32_t layer;
      std::vector<float> logits(batches[0].logits.size());
      int32_t run_status = GXNOR_OK;
      const int left = choices.byte();
      allocations_left = left;
      const int32_t status = gxnor_plan_create(&p.input, p.layers.data(), count, gxnor_isa(0), run_mode % 2, threads, &plan, &layer);
      if (plan) run_status = gxnor_plan_run(plan, batches[0].x.data(), batches[0].size, threads, logits.data(), nullptr);
      allocations_left = INT_MAX;
      expect(status == GXNOR_OK || status == GXNOR_NO_MEMORY, "missing memory that is called something else");
      expect(!plan || run_status == GXNOR_NO_MEMORY || run_status == (batches[0].good ? GXNOR_OK : GXNOR_BAD_STATE),
             "missing memory in a run that is called something else");
      if (plan) check_run(plan, batches[0], threads);
      gxnor_plan_destroy(plan);
    }
  }
  for (gxnor_plan* plan : plans) gxnor_plan_destroy(plan);
  return 0;
}
