// Convolutions of small integers by dot8: forward passes, and gradients of inputs, which are convolutions too.
#pragma once

#include <functional>

#include "training/integer.h"

namespace gxnor {

// x (images, size, channels) is spread out, up - 1 zeros between two pixels, and surrounded by zeros, of which `before` come
// before its first pixel (or, where negative, so many are cut off there); outputs (images, out, out_channels) are then
// a convolution without padding, of stride and dilation.
struct Correlation {
  int64_t images;
  int size[2], channels, out[2], out_channels;
  int kernel[2], up[2], before[2], stride[2], dilation[2], groups;
  int x_bound, w_bound;
};

// A layer's forward pass.
Correlation forward_correlation(const gxnor_int_conv& conv);

// Bytes of a row, and of an image, of x, spread out and surrounded.
int64_t row_bytes(const Correlation& of);
int64_t surrounded_bytes(const Correlation& of);
void surround(const Correlation& of, const int8_t* x, int8_t* to);

// Where in there the window of an output begins.
int64_t first_byte(const Correlation& of, int64_t output);

// Neighbouring bytes that a window covers, `bytes` of each of `count` runs: taps that are neighbours, of all channels, are
// one.
struct Runs {
  int64_t count, bytes;
  int64_t units() const { return count * quads_of(bytes); }
  // Where a run begins, from the window's first byte.
  int64_t from(const Correlation& of, int64_t run) const;
};
Runs forward_runs(const Correlation& of);

// Weights as dot8 or lookup takes them, the blocks of a group after those of the one before. `offsets`: of the units of a
// window.
struct Panels {
  int64_t units, blocks, group_blocks, block_bytes;
  Product product;
  int at_once;  // blocks
  bool bits;    // lookup: x is the bits of its non-zeros, and after these those of its minus signs
  Memory<int32_t> offsets;
  Memory<uint8_t> fours;  // lookup: Window's groups
  Memory<int8_t> bytes;

  Panels(const Kernels& kernels, bool bits, int64_t units, int64_t groups, int64_t group_channels)
      : units(units),
        blocks(groups * blocks_of(group_channels)),
        group_blocks(blocks_of(group_channels)),
        block_bytes(bits ? units * kLookupBytes : (units + 1) * kUnitBytes),
        product(bits ? kernels.lookup : kernels.dot8),
        at_once(bits ? kMostBlocks : kernels.dot8_blocks),
        bits(bits),
        offsets(units),
        fours(units),
        bytes(blocks * block_bytes) {}
  explicit operator bool() const { return offsets && fours && bytes; }
  int8_t* block(int64_t block) const { return bytes.get() + block * block_bytes; }
};

// w [out_channels][taps][channels / groups]
Panels forward_panels(const Correlation& of, const int8_t* w, int threads);
// Of three states in x and w, for lookup, where that suits.
bool suits_lookup(const Correlation& of);
Panels lookup_panels(const Correlation& of, const int8_t* w, int threads);
// Bytes of three states to bits, eight to a byte: `count` non-zeros, and `plane` bytes further as many minus signs.
void pack_states(const int8_t* x, int64_t count, int64_t plane, uint8_t* to);

// w [channels][taps][out_channels / groups], the taps in reverse
Panels backward_panels(const Correlation& of, const int8_t* w, int threads);

// What is called with the sums of some images, from `image` on, in place of writing them to y, where they fit 16 bits.
using Take = std::function<void(int64_t image, int64_t images, const int16_t* sums)>;

// y = float(sum) * scale[image], or without scale where that is null.
int correlate(const Correlation& of, const int8_t* x, const Panels& w, const float* scale, float* y, int threads,
              const Take* take = nullptr);

// The sums of gxnor_int_conv_forward, to y or to what takes them.
int forward(const gxnor_int_conv& conv, const int8_t* x, const int8_t* w, float* y, int threads, const Take* take);

}  // namespace gxnor
