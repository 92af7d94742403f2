// The gradient of weights of a layer with few input channels, whose windows leave most lanes of a block empty. Here the lanes
// are outputs, and what dot8 takes for positions are the taps of every input channel: with rows of one channel together,
// four neighbouring outputs see four neighbouring bytes of x,
//   dw[o][tap] = scale[o] * sum over quads of outputs of q[quad][o] . x[quad + tap].
#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "training/integer_weight.h"
#include "training/pooling.h"
#include "training/team.h"

namespace gxnor {
namespace {

constexpr int64_t kUnits = 128;  // at a time, where the batch has so many

// x of one image, surrounded, a channel after the other, and the offsets of quads and taps in it.
struct Planes {
  const gxnor_int_conv& c;
  const int64_t quads = quads_of(c.wo), units = c.ho * quads;  // of an image
  const int64_t rows = int64_t{c.ho - 1} * c.stride[0] + int64_t{c.kernel[0] - 1} * c.dilation[0] + 1;
  const int64_t columns = quads * kQuad + int64_t{c.kernel[1] - 1} * c.dilation[1];
  const int64_t plane = rows * columns, image = c.c_in * plane;
  const int64_t taps = int64_t{c.kernel[0]} * c.kernel[1];

  int64_t unit_at(int64_t u) const { return u / quads * c.stride[0] * columns + u % quads * kQuad; }
  int64_t tap_at(int64_t channel, int64_t tap) const {
    return channel * plane + tap / c.kernel[1] * c.dilation[0] * columns + tap % c.kernel[1] * c.dilation[1];
  }
};

GXNOR_BODY void part_channels(const Planes* of, const int8_t* x, int8_t* to) {
  const gxnor_int_conv& c = of->c;
  std::memset(to, 0, of->image);
  const int64_t height = std::min<int64_t>(c.h, of->rows - c.padding[0]);
  const int64_t width = std::min<int64_t>(c.w, of->columns - c.padding[1]);
  for (int64_t channel = 0; channel < c.c_in; ++channel) {
    for (int64_t y = 0; y < height; ++y) {
      const int8_t* const from = x + y * c.w * c.c_in + channel;
      int8_t* const row = to + channel * of->plane + (y + c.padding[0]) * of->columns + c.padding[1];
      for (int64_t i = 0; i < width; ++i) row[i] = from[i * c.c_in];
    }
  }
}

// q of one image, [ho][wo][c_out], of 16 outputs to the units of a block.
GXNOR_BODY void pack_quads(const Planes* of, const int8_t* q, int lanes, int8_t* to) {
  static constexpr int8_t kZeros[kLanes] = {};
  const gxnor_int_conv& c = of->c;
  for (int64_t y = 0; y < c.ho; ++y) {
    for (int64_t x = 0; x < c.wo; x += kQuad, to += kUnitBytes) {
      const int8_t* rows[kQuad];
      for (int i = 0; i < kQuad; ++i) rows[i] = x + i < c.wo ? q + (y * c.wo + x + i) * c.c_out : kZeros;
      if (lanes < kLanes) std::memset(to, 0, kUnitBytes);
      interleave(rows, lanes, to);
    }
  }
}

GXNOR_BODY void add(const int32_t* sums, int64_t count, int32_t* totals) {
  for (int64_t i = 0; i < count; ++i) totals[i] += sums[i];
}

}  // namespace

bool suits_weight_narrow(const gxnor_int_conv& c) { return c.groups == 1 && c.stride[1] == 1 && c.c_in <= kLanes / 2; }

int weight_gradient_narrow(const gxnor_int_conv& c, const Rounded& rounded, const int8_t* x, const float* scale, float* dw,
                           int threads) {
  const Planes planes = {c};
  const Kernels& kernels = training_kernels();
  const int64_t blocks = blocks_of(c.c_out), outputs = int64_t{c.ho} * c.wo * c.c_out;
  const int64_t maxima = rounded.positions(c) * c.c_out;
  const int64_t count = quads_of(c.c_in * planes.taps) * kQuad;  // of positions: dot8 takes four at a time
  const int64_t at_once = std::clamp<int64_t>(kUnits / planes.units, 1, c.n), groups = (c.n + at_once - 1) / at_once;
  const int64_t panel = (at_once * planes.units + 1) * kUnitBytes, size = blocks * count * kLanes;
  if (at_once * planes.image > INT32_MAX || at_once * planes.units > INT32_MAX / kUnitBytes) return kUnsupported;
  const Memory<int32_t> all(size);
  if (!all) return kNoMemory;
  std::memset(all.get(), 0, size * sizeof(int32_t));
  std::mutex adding;
  std::atomic<bool> failed{false};
  team_for(groups, (groups + threads - 1) / threads, threads, [&](int64_t begin, int64_t end) {
    const Memory<int8_t> images(at_once * planes.image), whole(rounded.pool ? outputs : 0), panels(blocks * panel);
    const Memory<int32_t> offsets(at_once * planes.units), totals(size), sums(kernels.dot8_blocks * count * kLanes);
    const Memory<const uint8_t*> from(count);
    if (!images || !whole || !panels || !offsets || !totals || !sums || !from) {
      failed = true;
      return;
    }
    std::memset(totals.get(), 0, size * sizeof(int32_t));
    for (int64_t u = 0; u < at_once * planes.units; ++u)
      offsets.get()[u] = static_cast<int32_t>(u / planes.units * planes.image + planes.unit_at(u % planes.units));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t own = std::min(i, c.c_in * planes.taps - 1);
      from.get()[i] = reinterpret_cast<const uint8_t*>(images.get()) + planes.tap_at(own / planes.taps, own % planes.taps);
    }
    for (int64_t first = begin * at_once; first < std::min<int64_t>(c.n, end * at_once); first += at_once) {
      const int64_t some = std::min<int64_t>(at_once, c.n - first), units = some * planes.units;
      for (int64_t i = 0; i < some; ++i) {
        const int64_t image = first + i;
        vectorised<part_channels>(&planes, x + image * c.h * c.w * c.c_in, images.get() + i * planes.image);
        const int8_t* q = rounded.q + image * maxima;
        if (rounded.pool) spread_plane(*rounded.pool, q, rounded.place + image * maxima, whole.get());
        if (rounded.pool) q = whole.get();
        for (int64_t b = 0; b < blocks; ++b)
          vectorised<pack_quads>(&planes, q + b * kLanes, static_cast<int>(std::min<int64_t>(kLanes, c.c_out - b * kLanes)),
                                 panels.get() + b * (units + 1) * kUnitBytes + (1 + i * planes.units) * kUnitBytes);
      }
      Window window = {offsets.get(), static_cast<int>(units), 0, c.x_bound, 0, 1};
      window.piece = std::min(window.units, piece(c.x_bound, c.q_bound));
      for (int64_t b = 0; b < blocks; ++b)
        vectorised<begin_block>(panels.get() + b * (units + 1) * kUnitBytes, units, c.x_bound);
      for (int64_t b = 0; b < blocks; b += window.blocks) {
        window.blocks = static_cast<int>(std::min<int64_t>(kernels.dot8_blocks, blocks - b));
        kernels.dot8(from.get(), static_cast<int>(count), window, panels.get() + b * (units + 1) * kUnitBytes, sums.get());
        vectorised<add>(static_cast<const int32_t*>(sums.get()), window.blocks * count * kLanes,
                        totals.get() + b * count * kLanes);
      }
    }
    const std::lock_guard<std::mutex> lock(adding);
    vectorised<add>(static_cast<const int32_t*>(totals.get()), size, all.get());
  });
  if (failed) return kNoMemory;
  for (int64_t o = 0; o < c.c_out; ++o) {
    const int32_t* const of_output = all.get() + o / kLanes * count * kLanes + o % kLanes;
    for (int64_t i = 0; i < c.c_in * planes.taps; ++i)
      dw[(o * planes.taps + i % planes.taps) * c.c_in + i / planes.taps] = static_cast<float>(of_output[i * kLanes]) * scale[o];
  }
  return kDone;
}

}  // namespace gxnor
