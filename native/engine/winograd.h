// 3x3 convolutions of states by Winograd's F(M x M, 3x3), exact in integers: the M * M outputs of a tile take (M + 2)^2
// products instead of 9 M * M. For M = 2 that is 16 instead of 36, for M = 4 36 instead of 144.
//
//   s y = A^T [ U . V ] A,   U = G w G^T,   V = B^T x B,   s = kScale[i] kScale[j] at (i, j)    (winograd_transform.h)
//
// x is a window of levels, w a kernel of levels. If both are in -1..1, V is in -4..4 and U in -9..9 for M = 2, in -100..100
// and -49..49 for M = 4; larger levels are allowed as long as V and U fit in bytes. Summed over the input channels, each
// point is a product of matrices of bytes. s y is exact, and therefore y. U would take seven or 16 times the memory of
// ternary w, so the weights stay packed and are expanded for each strip of tiles, in the cache.
#pragma once

#include "engine/convolution.h"

namespace gxnor {

// Of all blocks of 16 output channels, see PackedWeights. Beyond the channels levels are 0.
struct WinogradWeights {
  int quads, blocks;  // of four input and 16 output channels
  int bits, top;
  aligned_vector<uint8_t> levels;  // [blocks][quads * bits / 8][9 taps][kPacked]
  aligned_vector<int16_t> sums;    // [blocks][9 taps][16 lanes]

  // Not written yet.
  WinogradWeights(int inputs, int outputs, int bits, int top);

  PackedWeights block(int64_t block) const {
    return {levels.data() + block * block_bytes(), sums.data() + block * 9 * kLanes, quads, bits, top};
  }
  int64_t block_bytes() const { return int64_t{quads} * bits / 8 * 9 * kPacked; }
};

template <int M>
class Winograd : public Step {
 public:
  // Whether levels of these sizes suit, of so many input channels.
  static bool suits(int channels, int64_t top, int64_t weight_top, bool fip);
  // Whether a convolution can be computed so: 3x3, dense, its points in bytes. top: the largest level of the input; space: N
  // of the weights; fip: by fast inner products.
  static bool suits(const Buffer& input, const Geometry& geometry, int top, int space, bool fip);

  Winograd(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry, const States& states,
           int top, const WinogradKernels& kernels, int threads, Epilogue epilogue);
  Winograd(int input, int output, const int padding[2], WinogradWeights weights, int top, const WinogradKernels& kernels,
           Epilogue epilogue);

  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override;
  const char* name() const override {
    if (M == 2) return kernels_.own ? "product, Winograd 2x2, fast inner products" : "product, Winograd 2x2";
    return kernels_.own ? "product, Winograd 4x4, fast inner products" : "product, Winograd 4x4";
  }
  int64_t bytes() const override;

 private:
  struct Strip;

  void input_transform(const Buffer& input, const uint8_t* image, int64_t tile_y, int64_t tile_x, int tiles, uint8_t* points,
             int64_t point, uint8_t* rows) const;
  uint8_t** locate(const Buffer& output, uint8_t* image, int64_t row, int64_t begin, int64_t end, uint8_t* outside,
                   uint8_t** pixels) const;
  void output_transform(const Buffer& output, int block, const int32_t* products, int tiles, int32_t* sums,
             uint8_t* const* outputs, const uint8_t* const* others) const;

  const int input_, output_, padding_[2];
  const Epilogue epilogue_;
  const int top_;                    // the largest level of the input
  const WinogradKernels& kernels_;
  const WinogradWeights weights_;
};

}  // namespace gxnor
