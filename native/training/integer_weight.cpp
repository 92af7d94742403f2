// The gradient of weights by dot8: q and the windows of x, both with four output positions to a unit, are blocks of a
// product of matrices,  dw[o][f] = scale[o] * sum over positions of q[position][o] * x[position][f],  f the taps and their
// channels.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "training/integer_weight.h"
#include "training/team.h"

namespace gxnor {
namespace {

constexpr int kUnits = 128;     // at a time, of four positions
constexpr int kWide = 4;        // blocks of f that a piece of work has
constexpr int kMostLanes = kWide * kLanes;

struct Shape {
  const gxnor_int_conv& conv;
  const int64_t pixels = int64_t{conv.ho} * conv.wo, positions = conv.n * pixels, quads = quads_of(positions);
  const int64_t chunks = (quads + kUnits - 1) / kUnits;
  const int64_t inputs = conv.c_in / conv.groups, outputs = conv.c_out / conv.groups;
  const int64_t fan = inputs * conv.kernel[0] * conv.kernel[1], blocks = blocks_of(outputs);

  int64_t units(int64_t chunk) const { return std::min<int64_t>(kUnits, quads - chunk * kUnits); }
  int64_t panel() const { return std::min<int64_t>(kUnits, quads) * kUnitBytes; }
};

// q of one chunk and group: [blocks][units][16][4], zeros after the channels and positions.
GXNOR_BODY void pack_gradient(const Shape* shape, const int8_t* q, int64_t chunk, int64_t group, int8_t* to) {
  static constexpr int8_t kZeros[kLanes] = {};
  const int64_t first = chunk * kUnits * kQuad, pixel = shape->conv.c_out, units = shape->units(chunk);
  for (int64_t b = 0; b < shape->blocks; ++b) {
    const int lanes = static_cast<int>(std::min<int64_t>(kLanes, shape->outputs - b * kLanes));
    const int8_t* from = q + group * shape->outputs + b * kLanes;
    for (int64_t u = 0; u < units; ++u, to += kUnitBytes) {
      const int8_t* rows[kQuad];
      for (int i = 0; i < kQuad; ++i) {
        const int64_t position = first + kQuad * u + i;
        rows[i] = position < shape->positions ? from + position * pixel : kZeros;
      }
      if (lanes < kLanes) std::memset(to, 0, kUnitBytes);
      interleave(rows, lanes, to);
    }
  }
}

// Neighbouring f of one tap.
struct Part {
  int64_t row, column, channel;  // from the window's first pixel
  int at, size;
};

int list_parts(const Shape& shape, int64_t group, int64_t f, int lanes, Part* parts) {
  const gxnor_int_conv& c = shape.conv;
  int count = 0;
  for (int at = 0; at < lanes; ++count) {
    const int64_t tap = (f + at) / shape.inputs, channel = (f + at) % shape.inputs;
    const int size = static_cast<int>(std::min<int64_t>(lanes - at, shape.inputs - channel));
    parts[count] = {tap / c.kernel[1] * c.dilation[0] - c.padding[0], tap % c.kernel[1] * c.dilation[1] - c.padding[1],
                    group * shape.inputs + channel, at, size};
    at += size;
  }
  return count;
}

// The windows of one chunk: [kWide blocks][start, units][16][4].
GXNOR_BODY void pack_windows(const Shape* shape, const int8_t* x, int64_t chunk, const Part* parts, int count, int wide,
                             int zero_point, int8_t* to) {
  const gxnor_int_conv& c = shape->conv;
  const int64_t units = shape->units(chunk), block = (units + 1) * kUnitBytes;
  int8_t values[kQuad][kMostLanes];
  int64_t position = chunk * kUnits * kQuad;
  int64_t image = position / shape->pixels, y = position % shape->pixels / c.wo, column = position % c.wo;
  for (int64_t u = 0; u < units; ++u) {
    for (int i = 0; i < kQuad; ++i, ++position) {
      std::memset(values[i], 0, sizeof values[i]);
      if (position >= shape->positions) continue;
      for (int p = 0; p < count; ++p) {
        const int64_t row = y * c.stride[0] + parts[p].row, at = column * c.stride[1] + parts[p].column;
        if (row < 0 || row >= c.h || at < 0 || at >= c.w) continue;
        const int8_t* from = x + ((image * c.h + row) * c.w + at) * c.c_in + parts[p].channel;
        if (parts[p].size == kMostLanes)
          std::memcpy(values[i], from, kMostLanes);
        else
          std::memcpy(values[i] + parts[p].at, from, parts[p].size);
      }
      if (++column == c.wo) {
        column = 0;
        if (++y == c.ho) y = 0, ++image;
      }
    }
    for (int b = 0; b < wide; ++b) {
      const int8_t* rows[kQuad];
      for (int i = 0; i < kQuad; ++i) rows[i] = values[i] + b * kLanes;
      interleave(rows, to + b * block + (u + 1) * kUnitBytes);
    }
  }
  for (int b = 0; b < wide; ++b) begin_block(to + b * block, units, zero_point);
}

GXNOR_BODY void add(const int32_t* sums, int64_t count, int32_t* totals) {
  for (int64_t i = 0; i < count; ++i) totals[i] += sums[i];
}

// dw of one output, of `lanes` f, from the sums of its row in each block of f.
GXNOR_BODY void finish(const int32_t* totals, int lanes, float scale, float* dw) {
  for (int first = 0; first < lanes; first += kLanes, totals += kLanes * kLanes, dw += kLanes) {
    if (lanes - first >= kLanes)
      for (int lane = 0; lane < kLanes; ++lane) dw[lane] = static_cast<float>(totals[lane]) * scale;
    else
      for (int lane = 0; lane < lanes - first; ++lane) dw[lane] = static_cast<float>(totals[lane]) * scale;
  }
}

}  // namespace

int weight_gradient(const gxnor_int_conv& conv, const int8_t* q, const int8_t* x, const float* scale, float* dw,
                    int threads) {
  const Shape shape = {conv};
  const Kernels& kernels = training_kernels();
  const int64_t slab = shape.blocks * shape.panel(), wides = (blocks_of(shape.fan) + kWide - 1) / kWide;
  const Memory<int8_t> gradient(conv.groups * shape.chunks * slab);
  if (!gradient) return kNoMemory;
  team_for(conv.groups * shape.chunks, 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      vectorised<pack_gradient>(&shape, q, i % shape.chunks, i / shape.chunks, gradient.get() + i * slab);
  });

  // A piece of work: some f, and some outputs where there are few f.
  const int64_t splits = std::clamp<int64_t>(threads / (conv.groups * wides), 1, shape.blocks);
  const int64_t share = (shape.blocks + splits - 1) / splits;
  std::atomic<bool> failed{false};
  team_for(conv.groups * wides * splits, 1, threads, [&](int64_t begin, int64_t end) {
    const Memory<int8_t> windows(kWide * (shape.panel() + kUnitBytes));
    const Memory<int32_t> totals(share * kLanes * kMostLanes);
    if (!windows || !totals) {
      failed = true;
      return;
    }
    int32_t offsets[kUnits];
    for (int u = 0; u < kUnits; ++u) offsets[u] = u * kUnitBytes;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t group = item / splits / wides, f = item / splits % wides * kMostLanes;
      const int64_t first = item % splits * share, last = std::min(first + share, shape.blocks);
      const int lanes = static_cast<int>(std::min<int64_t>(kMostLanes, shape.fan - f));
      const int wide = static_cast<int>(blocks_of(lanes));
      Part parts[kMostLanes];
      const int count = list_parts(shape, group, f, lanes, parts);
      if (first >= last) continue;
      std::memset(totals.get(), 0, share * kLanes * kMostLanes * sizeof(int32_t));
      for (int64_t chunk = 0; chunk < shape.chunks; ++chunk) {
        const int units = static_cast<int>(shape.units(chunk));
        vectorised<pack_windows>(&shape, x, chunk, static_cast<const Part*>(parts), count, wide, conv.q_bound,
                                 windows.get());
        Window window = {offsets, units, 0, conv.q_bound, std::min(units, piece(conv.q_bound, conv.x_bound)), 1};
        for (int64_t o = first; o < last; ++o) {
          const int8_t* panel = gradient.get() + (group * shape.chunks + chunk) * slab + o * units * kUnitBytes;
          const uint8_t* from[kLanes];
          for (int lane = 0; lane < kLanes; ++lane) from[lane] = reinterpret_cast<const uint8_t*>(panel) + kQuad * lane;
          alignas(64) int32_t sums[kWide * kLanes * kLanes];
          for (int b = 0; b < wide; b += window.blocks) {
            window.blocks = std::min(kernels.dot8_blocks, wide - b);
            kernels.dot8(from, kLanes, window, windows.get() + b * (units + 1) * kUnitBytes, sums + b * kLanes * kLanes);
          }
          vectorised<add>(static_cast<const int32_t*>(sums), int64_t{wide} * kLanes * kLanes,
                          totals.get() + (o - first) * kLanes * kMostLanes);
        }
      }
      for (int64_t o = first * kLanes; o < std::min(last * kLanes, shape.outputs); ++o) {
        const int64_t channel = group * shape.outputs + o;
        const int32_t* row = totals.get() + (o / kLanes - first) * kLanes * kMostLanes + o % kLanes * kLanes;
        vectorised<finish>(row, lanes, scale[channel], dw + channel * shape.fan + f);
      }
    }
  });
  return failed ? kNoMemory : kDone;
}

}  // namespace gxnor
