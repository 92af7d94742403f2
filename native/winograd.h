// 3x3 convolutions of binary and ternary states by Winograd's F(2x2, 3x3), exact in small integers: four outputs for 16
// products instead of 36.
//
//   4 y = A^T [ U . V ] A,   U = G w G^T,   V = B^T x B
//
//   G = [2 0 0; 1 1 1; 1 -1 1; 0 0 2],   B^T = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1],   A^T = [1 1 1 0; 0 1 -1 -1]
//
// x is a 4x4 window of levels -1..1, w a kernel of levels -1..1: V is in -4..4 and U in -9..9. Added up over the input
// channels, each of the 16 points is a product of matrices of bytes. 4 y is exact, so a shift gives y. U would take seven
// times the memory of w: the weights stay packed and are expanded for each strip of tiles, while in the cache.
#pragma once

#include "convolution.h"

namespace gxnor {

class Winograd : public Step {
 public:
  // Whether a convolution can be computed so: 3x3, dense, of bits by at most ternary weights, and no sum beyond 16 bits.
  static bool suits(const Buffer& input, const Geometry& geometry, int space);

  Winograd(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry, const States& states,
           const Kernels& kernels, int threads, Finish finish);

  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override { return "product, Winograd"; }
  int64_t bytes() const override;

 private:
  struct Strip;

  void arrange(const States& states, int channels, int fan, int threads);
  void enter(const Buffer& input, const uint8_t* image, int64_t tile_y, int64_t tile_x, int tiles, uint8_t* points,
             int64_t point, uint8_t* rows) const;

  const int input_, output_, padding_[2];
  const Finish finish_;
  const WinogradKernels& kernels_;
  const int quads_, blocks_;         // of four input and 16 output channels
  aligned_vector<uint8_t> weights_;  // [blocks][9 taps][quads * 64 / 4]: levels + 1 in two bits, see winograd_expand
  aligned_vector<int16_t> offsets_;  // [blocks][16 points][16 lanes]: what the sums of U times 4 are too large
};

}  // namespace gxnor
