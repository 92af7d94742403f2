// Feeds the engine's C interface programs made of arbitrary bytes, and compares every run with a brute-force interpreter.
//
//   cmake -S native -B build/fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DGXNOR_SANITIZE=fuzzer,address,undefined
//   cmake --build build/fuzz --target fuzz_engine
//   mkdir -p /tmp/corpus && build/fuzz/fuzz_engine /tmp/corpus -max_total_time=600 -max_len=512 -len_control=0 -timeout=60
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
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "grower.h"
#include "interpreter.h"

namespace {

std::atomic<int> allocations_left{INT_MAX};  // INT_MAX: none fails

void* allocate(size_t size, size_t alignment) {
  if (allocations_left.load(std::memory_order_relaxed) != INT_MAX && allocations_left.fetch_sub(1) <= 0)
    throw std::bad_alloc();
  void* memory =
      alignment ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment) : std::malloc(size);
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
  gxnor_repack(packed.data(), static_cast<int64_t>(packed.size()), table.data(), wide, out.data(),
               static_cast<int64_t>(out.size()));
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
  const int32_t count =
      mode == 255 ? choices.below(static_cast<int>(p.layers.size()) + 1) - 1 : static_cast<int32_t>(p.layers.size());
  const int threads = run_mode % 8 - 1;

  std::vector<gxnor_plan*> plans;
  int32_t expected = -1, expected_layer = -1;
  for (int i = 0; const char* isa = gxnor_isa(i / 6); ++i) {
    gxnor_plan* plan = nullptr;
    int32_t layer = -1;
    const int32_t kernel = GXNOR_CHOOSE + i % 6;
    const int32_t status = gxnor_plan_create(&p.input, p.layers.data(), count, isa, kernel, threads, &plan, &layer);
    expect((status == GXNOR_OK) == (plan != nullptr), "a plan without success, or success without a plan");
    expect(status != GXNOR_NO_KERNELS && status != GXNOR_NO_MEMORY, "an instruction set or memory that was missing");
    expect(expected < 0 || (status == expected && layer == expected_layer), "statuses depend on the instruction set");
    expected = status, expected_layer = layer;
    if (plan) plans.push_back(plan);
  }
  expect(size || !plans.empty(), "refused the smallest program, and so no doubt all");
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
      const int32_t status =
          gxnor_plan_create(&p.input, p.layers.data(), count, gxnor_isa(0), run_mode % 4, threads, &plan, &layer);
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
