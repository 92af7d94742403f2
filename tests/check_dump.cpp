// Runs programs that tests/dumps.py has written, on every instruction set and kernel of the machine (or of the one that
// is emulated), and compares the logits bit for bit with those in the dump.
//
// A dump, little-endian, again and again: gxnor_input; int32 layers, batch, bytes of x, classes; the layers, each followed
// by its two arrays; x; the logits.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

#include "engine/engine.h"

int main(int, char** arguments) {
  std::ifstream file(arguments[1], std::ios::binary);
  const auto read = [&](void* to, int64_t bytes) { return static_cast<bool>(file.read(static_cast<char*>(to), bytes)); };
  gxnor_input input;
  int programs = 0, runs = 0;
  for (; read(&input, sizeof input); ++programs) {
    int32_t sizes[4];
    read(sizes, sizeof sizes);
    const auto [count, batch, x_bytes, classes] = sizes;
    std::vector<gxnor_layer> layers(count);
    std::vector<std::vector<uint8_t>> arrays(2 * count);
    for (int i = 0; i < count; ++i) {
      read(&layers[i], sizeof(gxnor_layer));
      for (int j = 0; j < 2; ++j) {
        std::vector<uint8_t>& array = arrays[2 * i + j];
        array.resize(layers[i].sizes[j]);
        read(array.data(), layers[i].sizes[j]);
        layers[i].data[j] = array.data();
      }
    }
    std::vector<uint8_t> x(x_bytes);
    std::vector<float> expected(int64_t{batch} * classes);
    read(x.data(), x_bytes);
    read(expected.data(), expected.size() * sizeof(float));
    for (int i = 0; const char* isa = gxnor_isa(i); ++i)
      for (int kernel = GXNOR_CHOOSE; kernel <= GXNOR_WINOGRAD4_FIP; ++kernel)
        for (int threads : {1, 3}) {
          gxnor_plan* plan;
          int32_t layer;
          std::vector<float> logits(expected.size());
          int32_t status = gxnor_plan_create(&input, layers.data(), count, isa, kernel, threads, &plan, &layer);
          if (!status) status = gxnor_plan_run(plan, x.data(), batch, threads, logits.data(), nullptr);
          if (status || std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float))) {
            std::printf("program %d, %s, kernel %d, %d threads: status %d\n", programs, isa, kernel, threads, status);
            return 1;
          }
          gxnor_plan_destroy(plan);
          ++runs;
        }
  }
  for (int i = 0; const char* isa = gxnor_isa(i); ++i) std::printf("%s%s", i ? " " : "", isa);
  std::printf(": %d programs, %d runs\n", programs, runs);
}
