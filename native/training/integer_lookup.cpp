// Three states times three states for lookup (kernels/lookup_avx2.cpp): x as bits, weights as the plus signs of four
// channels and above them their minus signs.
#include <algorithm>
#include <cstring>

#include "training/integer_direct.h"
#include "training/team.h"

namespace gxnor {
namespace {

// The lowest bits of four bytes, the first one's lowest.
constexpr uint32_t lowest_of_four(uint32_t bytes) { return ((bytes & 0x01010101u) * 0x10204080u) >> 28; }

// And of eight.
constexpr uint64_t lowest_of_eight(uint64_t bytes) {
  return ((bytes & 0x0101010101010101u) * 0x0102040810204080u) >> 56;
}

// `lanes` rows of runs, `row` bytes apart, to [units][16 fours][16 lanes].
GXNOR_BODY void lookup_block(const int8_t* w, int64_t row, int lanes, const Runs* runs, int8_t* to) {
  for (int64_t run = 0; run < runs->count; ++run, w += runs->bytes) {
    for (int64_t channel = 0; channel < runs->bytes; channel += kQuad, to += kLanes) {
      for (int lane = 0; lane < lanes; ++lane) {
        uint32_t levels;
        std::memcpy(&levels, w + lane * row + channel, sizeof levels);
        const uint32_t minus = lowest_of_four(levels >> 7);
        to[lane] = static_cast<int8_t>((lowest_of_four(levels) & ~minus) | minus << 4);
      }
    }
    to += (kLookupChannels - runs->bytes % kLookupChannels) % kLookupChannels / kQuad * kLanes;
  }
}

int64_t units_of(const Runs& runs) { return (runs.bytes + kLookupChannels - 1) / kLookupChannels; }  // of a run

}  // namespace

bool suits_lookup(const Correlation& of) {
  return training_kernels().lookup && of.groups == 1 && of.x_bound <= 1 && of.w_bound <= 1 && of.channels % 8 == 0 &&
         of.out_channels > kLanes;
}

Panels lookup_panels(const Correlation& of, const int8_t* w, int threads) {
  const Runs runs = forward_runs(of);
  const int64_t row = runs.count * runs.bytes, of_run = units_of(runs);
  Panels panels(training_kernels(), true, runs.count * of_run, 1, of.out_channels);
  if (!panels) return panels;
  for (int64_t u = 0; u < panels.units; ++u) {
    const int64_t first = u % of_run * kLookupChannels;
    panels.offsets.get()[u] = static_cast<int32_t>((runs.from(of, u / of_run) + first) / 8);
    panels.fours.get()[u] = static_cast<uint8_t>(std::min<int64_t>(kLookupChannels, runs.bytes - first) / kQuad);
  }
  team_for(panels.blocks, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int lanes = static_cast<int>(std::min<int64_t>(kLanes, of.out_channels - b * kLanes));
      if (lanes < kLanes) std::memset(panels.block(b), 0, panels.block_bytes);
      vectorised<lookup_block>(w + b * kLanes * row, row, lanes, &runs, panels.block(b));
    }
  });
  return panels;
}

void pack_states(const int8_t* x, int64_t count, int64_t plane, uint8_t* to) {
  for (int64_t i = 0; i < count; i += 8, x += 8, ++to) {
    uint64_t states;
    std::memcpy(&states, x, sizeof states);
    to[0] = static_cast<uint8_t>(lowest_of_eight(states));
    to[plane] = static_cast<uint8_t>(lowest_of_eight(states >> 7));
  }
}

}  // namespace gxnor
