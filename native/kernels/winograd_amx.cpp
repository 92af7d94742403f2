// F(4x4, 3x3) on AMX: the products of points (kernels.h) for 32 tiles x 32 output channels. It multiplies signed bytes, so
// the windows have no zero point.
#include "kernels/kernels.h"

#if defined(GXNOR_AMX)
#include "kernels/amx.h"
#include "common/target.h"
#include "kernels/winograd_avx512.h"
#include "kernels/winograd_body.h"

GXNOR_TARGET("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")

namespace gxnor {
namespace {

constexpr int kBlocks = 2;
constexpr int kStrip = 1400 * 1024;  // beside the points of the weights and the sums, in a second cache of 2 MiB

void products(const PointProducts& of) {
  constexpr int64_t kTile = kBlocks * kLanes * sizeof(int32_t);
  const int quads = of.quads % kAmxQuads ? kAmxQuads / 2 : kAmxQuads;  // the channels are a multiple of 32
  AmxRegisters registers;
  registers.shape(of.tiles, quads);
  const AmxKernel kernel = amx_kernel(of.tiles, of.blocks);
  const int64_t row = int64_t{4} * of.quads;
  for (int p = 0; p < Point<4>::kCount; ++p)
    kernel({of.v + p * of.v_point, row, int64_t{4} * quads, of.u + p * of.u_point, row * kLanes, int64_t{64} * quads,
            of.quads / quads, of.m + p * point_stride(kAmxTall, kBlocks), kTile, kTile / kBlocks, false});
}

}  // namespace

const WinogradKernels winograd4_amx = {
    spread_avx512, avx512<winograd_filter_transform_raised<4, 64>>,
    avx512<winograd_input_transform<4, 64, Raise::none>>, products,
    avx512<winograd_output_transform<4, 64, kAmxTall, kBlocks>>, winograd_pack<kAmxTall, kBlocks>,
    kBlocks, kAmxTall, kStrip};

}  // namespace gxnor
GXNOR_TARGET_END
#endif
