// A plan: the buffers that values live in, and the steps that fill them, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "engine/engine.h"
#include "engine/grid.h"
#include "kernels/kernels.h"

namespace gxnor {

// Thrown while a plan is made; caught at the C interface.
struct Failure {
  gxnor_status status;
};

template <typename T>
struct Aligned {
  using value_type = T;
  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
  bool operator==(const Aligned&) const { return true; }
  bool operator!=(const Aligned&) const { return false; }
};
template <typename T>
using aligned_vector = std::vector<T, Aligned<T>>;

constexpr int kMostImages = 32;  // pass through all layers together: many share expanded weights, few stay in the cache

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How a value's integers are held, channels innermost.
enum class Form {
  bits,    // states of Z_0 and Z_1: a plane of non-zeros and one of minus signs, 8 channels per byte; minus only where
           // non-zero
  int8,    // states of Z_2 to Z_6
  pixels,  // pixels p, 2p - 255, for products: int8 of p - 128, and after the channels a 1, which is 0 in the margin
  int16,   // other pixels, states of Z_7, and sums that fit
  int32,   // other sums
};

// Of so many channels of one pixel, or of one plane of them.
int64_t pixel_bytes(Form form, int channels);

// Where one image's value lies: rows of pixels of channels, with a margin of zeros around that padding reads and nothing
// writes.
struct Buffer {
  Form form;
  int channels, height, width;
  int64_t pixel, row, plane, image;  // bytes from one to the next
  int64_t origin;                    // bytes from the image's first byte to pixel (0, 0)
  int whole = -1;                    // the buffer in whose pixels this one's lie, or -1

  Buffer(Form form, int channels, int height, int width, int margin_y, int margin_x);

  // Views of these pixels, which are as far from one another as here: so many channels, from a whole byte on; and all
  // channels with some of the margin around them.
  Buffer part(int first, int count) const;
  Buffer around(const int before[2], const int after[2]) const;

  int64_t at(int64_t y, int64_t x) const { return origin + y * row + x * pixel; }
  int64_t pixels() const { return static_cast<int64_t>(height) * width; }
  // The pixels of all images, which begin at `base`.
  Grid grid(uint8_t* base) const { return {base + origin, image, row, pixel, height, width}; }
  // Bytes at the end of all images that may be read from: by a unit beyond the last window, by a block beyond the channels.
  static constexpr int64_t kSlack = 64;
};

// The integers of one pixel. `from` and `to` point at it; levels that are stored must suit the form.
void load(const Buffer& buffer, const uint8_t* from, int32_t* integers);
void store(const Buffer& buffer, uint8_t* to, const int32_t* integers);

// The memory of one run: every buffer, for some images.
struct Scratch {
  int64_t images;
  std::vector<std::unique_ptr<uint8_t, void (*)(void*)>> memory;
  std::vector<uint8_t*> begins;  // of each buffer

  Scratch(const std::vector<Buffer>& buffers, int64_t images);
  uint8_t* operator[](int buffer) const { return begins[buffer]; }
};

struct Run {
  const Scratch& scratch;
  int64_t images;
  int threads;
  const uint8_t* x;
  float* logits;
};

struct Step {
  virtual ~Step() = default;
  virtual gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const = 0;
  virtual const char* name() const = 0;
  virtual int64_t bytes() const { return sizeof *this; }
};

}  // namespace gxnor

struct gxnor_plan {
  std::vector<gxnor::Buffer> buffers;
  std::vector<std::unique_ptr<gxnor::Step>> steps;
  int64_t input_size = 0, classes = 0;  // elements of one image

  // `seconds`, where not null, gains what each step took.
  gxnor_status run(const uint8_t* x, int64_t batch, int threads, float* logits, double* seconds) const;
  int64_t bytes() const;

 private:
  int64_t image_bytes() const;
  std::unique_ptr<gxnor::Scratch> acquire(int64_t images) const;
  void give_back(std::unique_ptr<gxnor::Scratch> scratch) const;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<gxnor::Scratch>> idle_;
};
