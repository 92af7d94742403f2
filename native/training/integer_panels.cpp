// Weights, as they come, to the blocks of dot8.
#include <cstring>

#include "training/integer_direct.h"
#include "training/team.h"

namespace gxnor {
namespace {

void list_offsets(const Correlation& of, const Runs& runs, int32_t* offsets) {
  for (int64_t run = 0; run < runs.count; ++run) {
    const int64_t from = runs.from(of, run);
    for (int64_t byte = 0; byte < runs.bytes; byte += kQuad) *offsets++ = static_cast<int32_t>(from + byte);
  }
}

// `lanes` rows of runs, `row` bytes apart.
GXNOR_BODY void forward_block(const int8_t* w, int64_t row, int lanes, const Runs* runs, int zero_point, int8_t* block) {
  const int64_t units = runs->units(), whole = runs->bytes / kQuad, rest = runs->bytes % kQuad;
  if (lanes < kLanes || rest) std::memset(block + kUnitBytes, 0, units * kUnitBytes);
  for (int lane = 0; lane < lanes; ++lane, w += row) {
    const int8_t* from = w;
    int8_t* to = block + kUnitBytes + kQuad * lane;
    for (int64_t run = 0; run < runs->count; ++run) {
      for (int64_t quad = 0; quad < whole; ++quad, from += kQuad, to += kUnitBytes) std::memcpy(to, from, kQuad);
      if (!rest) continue;
      std::memcpy(to, from, rest);
      from += rest, to += kUnitBytes;
    }
  }
  begin_block(block, units, zero_point);
}

// w: [channels][taps][lanes], `row` bytes from one channel to the next and `tap` to the next tap.
GXNOR_BODY void backward_block(const int8_t* w, int64_t row, int64_t tap, int lanes, const Runs* runs, int zero_point,
                               int8_t* block) {
  static constexpr int8_t kZeros[kLanes] = {};
  const int64_t units = runs->units();
  if (lanes < kLanes) std::memset(block + kUnitBytes, 0, units * kUnitBytes);
  int8_t* to = block + kUnitBytes;
  for (int64_t t = runs->count - 1; t >= 0; --t) {
    for (int64_t channel = 0; channel < runs->bytes; channel += kQuad, to += kUnitBytes) {
      const int8_t* rows[kQuad];
      for (int i = 0; i < kQuad; ++i) rows[i] = channel + i < runs->bytes ? w + (channel + i) * row + t * tap : kZeros;
      interleave(rows, lanes, to);
    }
  }
  begin_block(block, units, zero_point);
}

}  // namespace

Runs forward_runs(const Correlation& of) {
  const bool rows = of.groups == 1 && of.dilation[1] == 1;
  const int64_t fan = of.channels / of.groups;
  return rows ? Runs{of.kernel[0], of.kernel[1] * fan} : Runs{int64_t{of.kernel[0]} * of.kernel[1], fan};
}

int64_t Runs::from(const Correlation& of, int64_t run) const {
  const int64_t across = count / of.kernel[0];
  return run / across * of.dilation[0] * row_bytes(of) + run % across * of.dilation[1] * of.channels;
}

Panels forward_panels(const Correlation& of, const int8_t* w, int threads) {
  const Runs runs = forward_runs(of);
  const int64_t outputs = of.out_channels / of.groups, row = runs.count * runs.bytes;
  Panels panels(training_kernels(), false, runs.units(), of.groups, outputs);
  if (!panels) return panels;
  list_offsets(of, runs, panels.offsets.get());
  team_for(panels.blocks, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t group = b / panels.group_blocks, first = b % panels.group_blocks * kLanes;
      const int lanes = static_cast<int>(outputs - first < kLanes ? outputs - first : kLanes);
      vectorised<forward_block>(w + (group * outputs + first) * row, row, lanes, &runs, of.x_bound, panels.block(b));
    }
  });
  return panels;
}

Panels backward_panels(const Correlation& of, const int8_t* w, int threads) {
  const int64_t taps = int64_t{of.kernel[0]} * of.kernel[1], fan = of.channels / of.groups;
  const int64_t outputs = of.out_channels / of.groups, row = taps * outputs;
  const Runs runs = {taps, fan};
  Panels panels(training_kernels(), false, runs.units(), of.groups, outputs);
  if (!panels) return panels;
  list_offsets(of, runs, panels.offsets.get());
  team_for(panels.blocks, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t group = b / panels.group_blocks, first = b % panels.group_blocks * kLanes;
      const int lanes = static_cast<int>(outputs - first < kLanes ? outputs - first : kLanes);
      vectorised<backward_block>(w + group * fan * row + first, row, outputs, lanes, &runs, of.x_bound, panels.block(b));
    }
  });
  return panels;
}

}  // namespace gxnor
