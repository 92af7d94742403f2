// What differs between instruction sets: the inner loops, each in a file of its own, and the choice between them.
//
// All work on a block of 16 output channels, one lane each, for a list of output positions. A position is the address of
// the first byte of its window in a padded, channels-innermost buffer; `offsets` says where, from there, the units (words
// of bit planes, quads of int8, pairs of int16) that the window covers begin. Units may be read at any alignment and up to
// one unit beyond the window, where the weights are zero.
#pragma once

#include <cstdint>

#include "common/gxnor.h"

#if defined(__x86_64__) && defined(__linux__) && __has_include(<amxint8intrin.h>)
#define GXNOR_AMX
#endif

// Clang before 16, and Apple's, know the dot products only where all of the library is compiled for them.
#if defined(__aarch64__) && (defined(__ARM_FEATURE_DOTPROD) || !defined(__clang__) || \
                             (__clang_major__ >= 16 && !defined(__apple_build_version__)))
#define GXNOR_DOTPROD
#endif

namespace gxnor {

constexpr int kLanes = 16;
constexpr int kMostBlocks = 8;  // most blocks of output channels that any product takes at once

struct Window {
  const int32_t* offsets;  // in bytes, one per unit
  int units;
  int64_t plane;           // bytes from the plane of non-zeros to the plane of signs
  int zero_point;          // dot8: added to activations where the instruction takes one unsigned factor
  int piece;               // dot8: how many units of products, added in pairs, fit in 16 bits
  int blocks;              // of output channels, one after the other; at most what the kernel takes at once
  const uint8_t* groups;   // lookup: how many fours of each unit's channels have weights
};

// sums[block][position][lane] = sum over units of weight * activation, int32.
//
// xnor  unit: 64 channels as a word of non-zeros and a word of signs (1 is minus; only where non-zero).
//       weights: [units][non-zeros, signs][16] uint64.   y = popcount(g) - 2 popcount(g & (s_w ^ s_a)),  g = z_w & z_a
//       Where the gates g are known, one product is left out: see Xnor.
// dot8  unit: 4 channels of int8.    weights: [16] int32, -zero_point times the sum of each lane's;   [units][16][4] int8
// dot16 unit: 2 channels of int16.   weights: [units][16][2] int8
// dot32 unit: 1 channel of int32.    weights: [units][16] int8
using Product = void (*)(const uint8_t* const* positions, int count, const Window& window, const void* weights,
                         int32_t* sums);

// Ternary thresholds to bits. With low and high = thresholds[0] and [1], low <= high:
//   non-zero = not (low <= sum < high),  minus = (sum < low), reversed where `flip` has a bit.
// Writes the low `bytes` (1 or 2) of each 16 bits to outputs[position] and to outputs[position] + plane.
using Pack = void (*)(const int32_t* sums, int count, const int32_t thresholds[2][kLanes], uint16_t flip, int bytes,
                      uint8_t* const* outputs, int64_t plane);

// For kernels that compute the sums and apply Pack in one, for one or two blocks of two bytes each.
struct Packing {
  const int32_t* thresholds;  // [blocks][2][16]
  uint32_t flips;             // 16 bits per block, those of the first block lowest
  int64_t at, plane;          // bytes from an output to its first block; `plane` as in Pack
};

// Thresholds [rows][16], ascending in each lane, to levels of int8:
//   level = rows / 2 - how many thresholds are above the sum, negated where `flip` has a bit.
// Writes those of the first `lanes` to outputs[position].
using Level = void (*)(const int32_t* sums, int count, const int32_t* thresholds, int rows, uint16_t flip, int lanes,
                       uint8_t* const* outputs);

// Steps on lines (engine/line.h). split: -1 where 1 is taken from positive sums, else 0.
struct Lines {
  float scale[kLanes], offset[kLanes];
  int32_t split[kLanes];
};

// Level of such steps:
//   level = clamp((sum + (sum > 0 ? split : 0)) * scale + offset, 0, rows), rounded down, - rows / 2, negated where `flip` has a bit.
using LineLevel = void (*)(const int32_t* sums, int count, const Lines& lines, int rows, uint16_t flip, int lanes,
                           uint8_t* const* outputs);

// dot8 followed by Pack, in one kernel.
using Dot8Pack = void (*)(const uint8_t* const* positions, int count, const Window& window, const void* weights,
                          const Packing& packing, uint8_t* const* outputs);

// How many sums there are from one point to the next in what `products` writes: one line more than needed, because the
// points would otherwise share few sets of the cache.
constexpr int point_stride(int group, int blocks) { return (group * blocks + 1) * kLanes; }

// m[point][tile][block][lane] = offsets[block][point][lane] - own[point][tile] + sum over channels of v * u, for all points.
// AMX and ARM take v as signed bytes without a zero point, and no offsets. Only fast inner products have `own`; for all
// others it is 0 and not read.
struct PointProducts {
  const uint8_t* v;     // [points][tiles][quads][4]
  int64_t v_point;      // bytes from one point to the next
  const int32_t* own;
  int64_t own_point;    // from one point to the next
  const int8_t* u;      // [points][blocks][quads][16 lanes][4]
  int64_t u_point;      // bytes
  const int32_t* offsets;
  int tiles, quads, blocks;
  int largest;          // product of a level and a weight
  int32_t* m;  // [points][group][blocks][16 lanes] with the kernel's own group and blocks; point_stride between points
};

// The weights of a block of 16 output channels, level + top in 2, 4 or 8 bits: [quads * bits / 8][9 taps][kPacked] bytes.
// The kPacked bytes hold 8 / bits quads in U's order, the first quad in the lowest bits.
constexpr int kPacked = 64;
struct PackedWeights {
  const uint8_t* levels;
  const int16_t* sums;  // [9 taps][16 lanes], of the levels
  int quads;            // a multiple of 8
  int bits, top;
};

// Winograd's F(M x M, 3x3), M 2 or 4 (winograd.h): the filter and input transforms to points (winograd_body.h), the product
// of each point, and the output transform back to sums. top: the largest level of the input.
struct WinogradKernels {
  // The bits of neighbouring pixels, `bytes` per pixel and plane, to levels + 1, `width` per pixel, a multiple of 32. What
  // is beyond the channels becomes 1, the level 0.
  void (*spread)(const uint8_t* nonzero, const uint8_t* minus, int64_t bytes, int64_t pixels, uint8_t* levels,
                 int64_t width);
  void (*filter_transform)(const PackedWeights& weights, int top, int8_t* u, int64_t point, int32_t* offsets);
  void (*input_transform)(const uint8_t* rows, int64_t row, int64_t width, int tiles, int top, uint8_t* points,
                          int64_t point);
  void (*products)(const PointProducts& of);
  // The products of one block, from its first one on, to sums[tile][cell][position][lane]. A cell is 2 x 2 positions.
  void (*output_transform)(const int32_t* m, int tiles, int32_t* sums);
  // `output_transform` followed by Pack, for one block. An output is a position or, with `pooled`, the largest of a cell.
  // Null if there is no such kernel.
  void (*pack)(const int32_t* m, int tiles, const Packing& packing, bool pooled, uint8_t* const* outputs);
  int blocks;  // most blocks of 16 output channels that `products` takes at once
  int group;   // most tiles whose products become outputs together
  int strip;   // bytes of v, over all points, for which weights are expanded at a time
  // The sums v1 . v2 of neighbouring tiles, for all points. Null except for fast inner products.
  void (*own)(const uint8_t* v, int64_t v_point, int tiles, int quads, int32_t* own, int64_t own_point) = nullptr;
};

// M of one of Winograd's kernels; 0 of the direct product.
constexpr int winograd_side(gxnor_kernel kernel) {
  switch (kernel) {
    case GXNOR_WINOGRAD2:
    case GXNOR_WINOGRAD2_FIP: return 2;
    case GXNOR_WINOGRAD4:
    case GXNOR_WINOGRAD4_FIP: return 4;
    default: return 0;
  }
}

// Which operands of a layer on bit planes are never zero.
enum Xnor {
  kTernary,
  kBinaryWeights,      // g is z_a within the window. Lanes without weights hold arbitrary sums within the bounds.
  kBinaryActivations,  // g is z_w.   weights: [16] int32, the non-zeros of each lane;   then as above
  kXnors
};

struct Kernels {
  const char* name;
  bool (*supported)();
  Product xnor[kXnors];
  Product lookup;  // xnor[kTernary] for up to kMostBlocks blocks at once, two or more; null if there is no such kernel
  void (*lookup_weights)(uint8_t* weights, int units);  // from the order of xnor to that of lookup
  Product dot8;
  int dot8_blocks;     // blocks of output channels that dot8 takes at once
  Dot8Pack dot8_pack;  // null if there is no such kernel
  Product dot16, dot32;
  Pack pack;
  Level level;
  LineLevel line_level;
  const WinogradKernels& winograd2;
  const WinogradKernels& winograd4;
  const WinogradKernels* winograd2_fip = nullptr;  // by fast inner products; null if there is no such kernel
  const WinogradKernels* winograd4_fip = nullptr;

  const WinogradKernels* winograd(gxnor_kernel kernel) const {
    switch (kernel) {
      case GXNOR_WINOGRAD2: return &winograd2;
      case GXNOR_WINOGRAD4: return &winograd4;
      case GXNOR_WINOGRAD2_FIP: return winograd2_fip;
      case GXNOR_WINOGRAD4_FIP: return winograd4_fip;
      default: return nullptr;
    }
  }
};

// The kernels named `isa`, or null if they are not known or not supported; if `isa` is null or empty, the fastest that this
// machine supports. all_kernels lists them, fastest first.
const Kernels* find_kernels(const char* isa);
const Kernels* const* all_kernels(int* count);

// A product for weights that begin with [16] int32, which it does not need.
template <Product kProduct>
void after_start(const uint8_t* const* positions, int count, const Window& window, const void* weights, int32_t* sums) {
  kProduct(positions, count, window, static_cast<const uint8_t*>(weights) + kLanes * sizeof(int32_t), sums);
}

void xnor_portable(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void dot8_portable(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void dot16_portable(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void dot32_portable(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void pack_portable(const int32_t*, int, const int32_t[2][kLanes], uint16_t, int, uint8_t* const*, int64_t);
void level_portable(const int32_t*, int, const int32_t*, int, uint16_t, int, uint8_t* const*);
void line_level_portable(const int32_t*, int, const Lines&, int, uint16_t, int, uint8_t* const*);

extern const WinogradKernels winograd2_portable, winograd4_portable;

#if defined(__aarch64__)
extern const WinogradKernels winograd2_neon, winograd4_neon;

template <Xnor>
void xnor_neon(const uint8_t* const*, int, const Window&, const void*, int32_t*);

#if defined(GXNOR_DOTPROD)
extern const WinogradKernels winograd2_dotprod, winograd4_dotprod;

void dot8_dotprod(const uint8_t* const*, int, const Window&, const void*, int32_t*);
#endif
#endif

#if defined(__x86_64__)
extern const WinogradKernels winograd2_avx2, winograd2_avxvnni, winograd2_avx512, winograd2_fip_avx512;
extern const WinogradKernels winograd4_avx2, winograd4_avxvnni, winograd4_avx512, winograd4_fip_avx512;

template <Xnor>
void xnor_avx2(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void lookup_avx2(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void lookup_weights(uint8_t*, int);
void dot8_avx2(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void dot16_avx2(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void pack_avx2(const int32_t*, int, const int32_t[2][kLanes], uint16_t, int, uint8_t* const*, int64_t);
void level_avx2(const int32_t*, int, const int32_t*, int, uint16_t, int, uint8_t* const*);
void line_level_avx2(const int32_t*, int, const Lines&, int, uint16_t, int, uint8_t* const*);

void dot8_avxvnni(const uint8_t* const*, int, const Window&, const void*, int32_t*);

template <Xnor>
void xnor_avx512(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void dot8_avx512(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void dot8_pack_avx512(const uint8_t* const*, int, const Window&, const void*, const Packing&, uint8_t* const*);
void dot16_avx512(const uint8_t* const*, int, const Window&, const void*, int32_t*);
void pack_avx512(const int32_t*, int, const int32_t[2][kLanes], uint16_t, int, uint8_t* const*, int64_t);

#if defined(GXNOR_AMX)
extern const WinogradKernels winograd4_amx;

void dot8_amx(const uint8_t* const*, int, const Window&, const void*, int32_t*);
#endif
#endif

}  // namespace gxnor
