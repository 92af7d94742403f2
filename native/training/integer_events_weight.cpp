// The gradient of the weights is sums of rows of bytes, each times an event:
//   dw[output] = sum over the events of the output of q * x[what it saw],  a row of taps and their channels.
#include <atomic>

#include "training/integer_event_lists.h"
#include "training/team.h"

namespace gxnor {
namespace {

constexpr int kOutputs = 64;  // outputs whose events are listed together
constexpr int kNarrow = 64;   // channels of x beyond which a part of them is taken at a time

AddRows add_rows_of(int64_t lanes) {
  return add_rows(static_cast<int>(padded(std::min<int64_t>(lanes, kMostRowLanes)) / kRowLanes));
}

// `wide` of the `channels` of each pixel, + bound.
GXNOR_BODY void raise_block(const int8_t* from, int64_t pixels, int64_t channels, int64_t wide, int bound, uint8_t* to) {
  if (wide == channels) wide *= pixels, pixels = 1;
  for (int64_t p = 0; p < pixels; ++p, from += channels, to += wide)
    for (int64_t i = 0; i < wide; ++i) to[i] = static_cast<uint8_t>(from[i] + bound);
}

}  // namespace

int weight_gradient_events(const gxnor_int_conv& c, int64_t count, const Rounded& rounded, const int8_t* x,
                           const float* scale, float* dw, int threads) {
  const Correlation of = forward_correlation(c);
  const int64_t outputs = int64_t{c.ho} * c.wo, taps = int64_t{c.kernel[0]} * c.kernel[1], image_bytes = surrounded_bytes(of);
  // A row has the neighbouring taps that an output sees, of `wide` channels, which lie together for all pixels.
  const int64_t wide = c.c_in > kNarrow && c.c_in % kRowLanes == 0 ? kRowLanes : c.c_in, blocks = c.c_in / wide;
  const int64_t row_taps = c.dilation[1] == 1 ? c.kernel[1] : 1, bands = taps / row_taps, bytes = row_taps * wide;
  const int64_t width = padded(bytes), sums_row = blocks * bands * width;
  const int64_t images_at_once = std::clamp<int64_t>(kPositions / outputs, 1, c.n);
  const int64_t pixels = images_at_once * image_bytes / c.c_in;  // surrounded
  const int64_t values = rounded.positions(c);
  const int64_t room =
      images_at_once * values / 2 + 17;  // no power of two, by which all lists would fall on the same cache lines
  const Places places(c, rounded);
  if (!places) return kNoMemory;
  const Rows rule(c.x_bound, c.q_bound);
  const bool many = are_many(c, rounded, count);
  if (images_at_once * image_bytes > INT32_MAX) return kUnsupported;
  const int64_t share = std::clamp<int64_t>((c.c_out + threads - 1) / threads, std::min(8, c.c_out), kOutputs);
  std::atomic<bool> failed{false};
  team_for((c.c_out + share - 1) / share, 1, threads, [&](int64_t begin, int64_t end) {
    const Memory<int8_t> surrounded(images_at_once * image_bytes);
    const Memory<uint8_t> near(pixels * wide + kMostRowLanes);  // rows are read beyond their end
    const Memory<int32_t> seen(images_at_once * outputs);  // where the row of each output begins
    const Memory<Pair> pairs(share * room);
    const Memory<Events> lists(share);
    const Memory<int32_t> totals(share * sums_row);
    if (!surrounded || !near || !seen || !pairs || !lists || !totals) {
      failed = true;
      return;
    }
    std::memset(near.get() + pixels * wide, 0, kMostRowLanes);
    for (int64_t p = 0; p < images_at_once * outputs; ++p)
      seen.get()[p] =
          static_cast<int32_t>((p / outputs * image_bytes + first_byte(of, p % outputs)) / c.c_in * wide);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item * share, some = std::min(share, c.c_out - first);
      std::memset(totals.get(), 0, share * sums_row * sizeof(int32_t));
      for (int64_t image = 0; image < c.n; image += images_at_once) {
        const int64_t images = std::min(images_at_once, c.n - image);
        for (int64_t i = 0; i < images; ++i)
          surround(of, x + (image + i) * c.h * c.w * c.c_in, surrounded.get() + i * image_bytes);
        for (int64_t o = 0; o < share; ++o) lists.get()[o] = {pairs.get() + o * room};
        for (int64_t p = 0; p < images * values; ++p) {
          const int64_t at = (image * values + p) * c.c_out + first;
          const int32_t* const row = seen.get() + p / values * outputs + places.origin.get()[p % values];
          if (rounded.pool)
            for_events(rounded.q + at, some, many, [&](int64_t o, int32_t value) {
              lists.get()[o].add(row[places.offset.get()[rounded.place[at + o]]], value);
            });
          else
            for_events(rounded.q + at, some, many, [&](int64_t o, int32_t value) { lists.get()[o].add(*row, value); });
        }
        for (int64_t o = 0; o < some; ++o) lists.get()[o].close();
        for (int64_t block = 0; block < blocks; ++block) {
          vectorised<raise_block>(static_cast<const int8_t*>(surrounded.get()) + block * wide, images * image_bytes / c.c_in,
                                  int64_t{c.c_in}, wide, c.x_bound, near.get());
          for (int64_t band = 0; band < bands; ++band) {
            const int64_t from = band * row_taps / c.kernel[1] * c.dilation[0] * row_bytes(of) / c.c_in +
                                 band * row_taps % c.kernel[1] * c.dilation[1];
            for (int64_t lane = 0; lane < bytes; lane += kMostRowLanes) {
              const AddRows add = add_rows_of(bytes - lane);
              for (int64_t o = 0; o < some; ++o) {
                const Events& list = lists.get()[o];
                const Segment segment = {near.get() + from * wide + lane, list.pairs, (list.count + 1) >> 1, list.sum};
                if (segment.count)
                  add(&segment, 1, rule, totals.get() + o * sums_row + (block * bands + band) * width + lane);
              }
            }
          }
        }
      }
      for (int64_t o = 0; o < some; ++o)
        for (int64_t block = 0; block < blocks; ++block)
          for (int64_t tap = 0; tap < taps; ++tap)
            vectorised<write>(
                totals.get() + o * sums_row + (block * bands + tap / row_taps) * width + tap % row_taps * wide,
                static_cast<int>(wide), scale[first + o], dw + ((first + o) * taps + tap) * c.c_in + block * wide);
    }
  });
  return failed ? kNoMemory : kDone;
}

}  // namespace gxnor
