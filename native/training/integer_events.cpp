// Both gradients are sums of rows of bytes, each times an event:
//   dx[position] = sum over the events of the outputs that see it of q * w[output][tap],  a row of input channels,
//   dw[output]   = sum over the events of the output of q * x[what it saw],               a row of taps and their channels.
#include "training/integer_events.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "training/integer_rows.h"
#include "training/pooling.h"
#include "training/team.h"

namespace gxnor {
namespace {

constexpr int64_t kPositions = 1024;  // at a time, where the batch has so many
constexpr int64_t kNear = 25 << 10;     // bytes of rows that stay in a core's fastest cache
constexpr int kOutputs = 64;          // outputs whose events are listed together
constexpr int kNarrow = 64;           // channels of x beyond which a part of them is taken at a time

constexpr int64_t padded(int64_t lanes) { return (lanes + kRowLanes - 1) / kRowLanes * kRowLanes; }
AddRows add_rows_of(int64_t lanes) {
  return add_rows(static_cast<int>(padded(std::min<int64_t>(lanes, kMostRowLanes)) / kRowLanes));
}

// `wide` of the `channels` of each pixel, + bound.
GXNOR_BODY void raise_block(const int8_t* from, int64_t pixels, int64_t channels, int64_t wide, int bound, uint8_t* to) {
  if (wide == channels) wide *= pixels, pixels = 1;
  for (int64_t p = 0; p < pixels; ++p, from += channels, to += wide)
    for (int64_t i = 0; i < wide; ++i) to[i] = static_cast<uint8_t>(from[i] + bound);
}

// Calls each(i, q[i]) for all that are not zero and, where these are `many`, for the zeros as well: what to do is then hard
// to foresee, and a branch costs more than a value.
template <typename F>
GXNOR_BODY void for_events(const int8_t* q, int64_t n, bool many, F&& each) {
  if (many) {
    for (int64_t i = 0; i < n; ++i) each(i, q[i]);
    return;
  }
  for (int64_t begin = 0; begin < n; begin += 8) {
    uint64_t word = 0;
    std::memcpy(&word, q + begin, std::min<int64_t>(8, n - begin));
    for (; word; word &= ~(uint64_t{255} << (__builtin_ctzll(word) & ~7))) {
      const int64_t i = begin + __builtin_ctzll(word) / 8;
      each(i, q[i]);
    }
  }
}

GXNOR_BODY int64_t count_some(const int8_t* q, int64_t n) {
  constexpr int kBlock = 128;
  int64_t total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int size = static_cast<int>(std::min<int64_t>(kBlock, n - begin));
    uint8_t some = 0;
    for (int i = 0; i < size; ++i) some = static_cast<uint8_t>(some + (q[begin + i] != 0));
    total += some;
  }
  return total;
}

GXNOR_BODY void write(const int32_t* totals, int lanes, float scale, float* to) {
  for (int lane = 0; lane < lanes; ++lane) to[lane] = static_cast<float>(totals[lane]) * scale;
}

int64_t values_of_q(const gxnor_int_conv& c) { return int64_t{c.n} * c.ho * c.wo * c.c_out; }

bool are_many(const gxnor_int_conv& c, const Rounded& rounded, int64_t events) {
  return events * 12 > c.n * rounded.positions(c) * c.c_out;
}

// The outputs that the values of a position may belong to: origin[position] + offset[place].
struct Places {
  int64_t count;
  Memory<int32_t> origin, offset;

  Places(const gxnor_int_conv& c, const Rounded& rounded)
      : count(rounded.pool ? rounded.pool->kernel[0] * rounded.pool->kernel[1] : 1),
        origin(rounded.positions(c)),
        offset(count) {
    if (!*this) return;
    const gxnor_pool* const pool = rounded.pool;
    offset.get()[0] = 0;
    for (int64_t p = 0; p < rounded.positions(c); ++p)
      origin.get()[p] = static_cast<int32_t>(
          pool ? pool_window(*pool, p / pool->out_width, p % pool->out_width) / pool->inner : p);
    for (int64_t i = 1; i < count; ++i)
      offset.get()[i] = static_cast<int32_t>(pool_place(*pool, i) / pool->inner);
  }
  explicit operator bool() const { return origin && offset; }
};

// The output along an axis that sees a place of the input by a tap, or -1.
int64_t seer_of(const gxnor_int_conv& c, int axis, int64_t place, int64_t tap) {
  const int64_t from = place + c.padding[axis] - tap * c.dilation[axis], seer = from / c.stride[axis];
  return from >= 0 && from % c.stride[axis] == 0 && seer < (axis ? c.wo : c.ho) ? seer : -1;
}

// The weights that one pass over the input reads, raised to bytes: those of neighbouring taps in a row of the kernel, for
// kRowLanes times `vectors` input channels, [output channels][taps][lanes], so that a pass finds them in the fastest cache.
struct Passes {
  const gxnor_int_conv& c;
  const bool whole_rows;  // whether all taps of a row make one pass; else each does
  const int64_t taps = whole_rows ? c.kernel[1] : 1, count = c.kernel[0] * c.kernel[1] / taps;
  const int vectors;
  const int64_t lanes = int64_t{vectors} * kRowLanes, blocks = (c.c_in + lanes - 1) / lanes;
  const int64_t row = taps * lanes, bytes = c.c_out * row;  // of one output channel, and of all, in a pass

  explicit Passes(const gxnor_int_conv& c) : c(c), whole_rows(suits_rows(c)), vectors(fit(c, whole_rows ? c.kernel[1] : 1)) {}

  static bool suits_rows(const gxnor_int_conv& c) {
    return c.stride[1] == 1 && c.dilation[1] == 1 && int64_t{c.c_out} * c.kernel[1] * kRowLanes <= kNear;
  }
  static int fit(const gxnor_int_conv& c, int64_t taps) {
    const int64_t most = std::min<int64_t>(kMostRowVectors, padded(c.c_in) / kRowLanes);
    return static_cast<int>(std::clamp<int64_t>(kNear / (c.c_out * taps * kRowLanes), 1, most));
  }
  int64_t row_of_kernel(int64_t pass) const { return pass * taps / c.kernel[1]; }

  // Outputs of a row, first <= column < last, that see column x of the input in a pass. The weights by which `column` does
  // begin at (from - column) * lanes where whole rows are passes, else at 0.
  struct Columns {
    int64_t first, last, from;
  };
  Columns columns(int64_t pass, int64_t x) const {
    const int64_t at = x + c.padding[1];
    if (whole_rows) return {std::max<int64_t>(0, at - taps + 1), std::min<int64_t>(c.wo, at + 1), at};
    const int64_t seer = seer_of(c, 1, x, pass % c.kernel[1]);
    return {seer, seer + (seer >= 0), 0};
  }
};

// w [c_out][kernel][kernel][c_in] to the weights of a block of channels and a pass.
GXNOR_BODY void gather_weights(const Passes* of, const int8_t* w, int64_t block, int64_t pass, uint8_t* to) {
  const gxnor_int_conv& c = of->c;
  const int64_t lane = block * of->lanes, lanes = std::min(of->lanes, c.c_in - lane);
  w += pass * of->taps * c.c_in + lane;
  for (int64_t o = 0; o < c.c_out; ++o, w += int64_t{c.kernel[0]} * c.kernel[1] * c.c_in)
    for (int64_t tap = 0; tap < of->taps; ++tap, to += of->lanes)
      for (int64_t i = 0; i < lanes; ++i) to[i] = static_cast<uint8_t>(w[tap * c.c_in + i] + c.w_bound);
}

// How many pairs, and what sum of q, the outputs of a row have before one of them.
struct Mark {
  int32_t pairs, sum;
};

}  // namespace

int64_t count_events(const gxnor_int_conv& c, const Rounded& rounded, int threads) {
  std::atomic<int64_t> total{0};
  team_for(c.n * rounded.positions(c) * c.c_out, 1 << 18, threads,
           [&](int64_t begin, int64_t end) { total += vectorised<count_some>(rounded.q + begin, end - begin); });
  return total;
}

Memory<int8_t> spread(const gxnor_int_conv& c, const Rounded& rounded, int threads) {
  const int64_t outputs = int64_t{c.ho} * c.wo * c.c_out, maxima = rounded.positions(c) * c.c_out;
  Memory<int8_t> whole(rounded.pool ? c.n * outputs : 0);
  if (!rounded.pool || !whole) return whole;
  team_for(c.n, (1 << 16) / outputs + 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      spread_plane(*rounded.pool, rounded.q + i * maxima, rounded.place + i * maxima, whole.get() + i * outputs);
  });
  return whole;
}

bool suits_events(const gxnor_int_conv& c, int64_t events, double saved) {
  // Where the two ways meet: measured with AVX2, and with VNNI what its products are faster.
  const double share = isa.load(std::memory_order_relaxed) == kAvx512 ? 0.13 : 0.45;
  return c.groups == 1 && static_cast<double>(events) * saved < share * values_of_q(c);
}

int input_gradient_events(const gxnor_int_conv& c, int64_t count, const Rounded& rounded, const int8_t* w,
                          const float* scale, float* dx, int threads) {
  const int64_t pixels = int64_t{c.h} * c.w, outputs = int64_t{c.ho} * c.wo, positions = rounded.positions(c);
  const Rows rule(c.w_bound, c.q_bound);
  const bool many = are_many(c, rounded, count);
  const Places places(c, rounded);
  const Passes passes(c);
  const Memory<uint8_t> weights(passes.blocks * passes.count * passes.bytes);
  if (!weights || !places) return kNoMemory;
  if (passes.bytes > INT32_MAX / 2 || std::max<int64_t>(outputs, kPositions) * c.c_out > INT32_MAX) return kUnsupported;
  if (c.c_in % passes.lanes) std::memset(weights.get(), 0, passes.blocks * passes.count * passes.bytes);
  team_for(passes.blocks * passes.count, (1 << 16) / passes.bytes + 1, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      vectorised<gather_weights>(&passes, w, i / passes.count, i % passes.count, weights.get() + i * passes.bytes);
  });
  const AddRows add = add_rows(passes.vectors);
  const int64_t step = passes.whole_rows ? passes.lanes : 0;  // what the weights of the next output in a row begin earlier
  const int64_t grain = std::clamp<int64_t>(kPositions / 2 / outputs, 1, c.n);
  const int64_t room = (c.c_out / 2 + 1) * int64_t{c.wo}, marks_row = c.wo + 1;  // of a row of outputs
  std::atomic<bool> failed{false};
  team_for((c.n + grain - 1) / grain, 1, threads, [&](int64_t begin, int64_t end) {
    const int64_t half = c.c_out / 2 + 1;
    const Memory<Pair> pairs(grain * c.ho * room);  // of one row of outputs after the other
    const Memory<Pair> apart(places.count * half);  // of a position, by their place
    const Memory<Events> lists(places.count);
    const Memory<Mark> marks(grain * c.ho * marks_row);
    const Memory<int32_t> totals(grain * pixels * passes.lanes);
    if (!pairs || !apart || !lists || !marks || !totals) {
      failed = true;
      return;
    }
    for (int64_t image = begin * grain; image < std::min<int64_t>(c.n, end * grain); image += grain) {
      const int64_t images = std::min<int64_t>(grain, c.n - image);
      std::fill_n(marks.get(), images * c.ho * marks_row, Mark{0, 0});
      for (int64_t p = 0; p < images * positions; ++p) {
        const int64_t at = (image * positions + p) * c.c_out;
        for (int64_t place = 0; place < places.count; ++place) lists.get()[place] = {apart.get() + place * half};
        if (rounded.pool)
          for_events(rounded.q + at, c.c_out, many, [&](int64_t o, int32_t value) {
            lists.get()[rounded.place[at + o]].add(static_cast<int32_t>(o * passes.row), value);
          });
        else
          for_events(rounded.q + at, c.c_out, many,
                     [&](int64_t o, int32_t value) { lists.get()[0].add(static_cast<int32_t>(o * passes.row), value); });
        for (int64_t place = 0; place < places.count; ++place) {
          Events& list = lists.get()[place];
          const int32_t some = list.close();
          if (!some) continue;
          const int64_t output = places.origin.get()[p % positions] + places.offset.get()[place];
          const int64_t line = p / positions * c.ho + output / c.wo, column = output % c.wo;
          Mark* const of_row = marks.get() + line * marks_row;  // the last one has what the row has had so far
          Pair* to = pairs.get() + line * room + of_row[c.wo].pairs;
          const int32_t before = static_cast<int32_t>(column * step);
          for (int32_t i = 0; i < some; ++i, ++to) {
            *to = list.pairs[i];
            to->at[0] -= before;
            to->at[1] -= before;
          }
          of_row[column] = {some, list.sum};
          of_row[c.wo].pairs += some;
        }
      }
      for (int64_t line = 0; line < images * c.ho; ++line) {
        Mark so_far = {0, 0};
        for (Mark *mark = marks.get() + line * marks_row, *last = mark + c.wo; mark <= last; ++mark) {
          const Mark own = *mark;
          *mark = so_far;
          so_far = {so_far.pairs + own.pairs, so_far.sum + own.sum};
        }
      }
      for (int64_t block = 0; block < passes.blocks; ++block) {
        std::memset(totals.get(), 0, images * pixels * passes.lanes * sizeof(int32_t));
        for (int64_t pass = 0; pass < passes.count; ++pass) {
          const uint8_t* const of_pass = weights.get() + (block * passes.count + pass) * passes.bytes;
          for (int64_t line = 0; line < images * c.h; ++line) {
            const int64_t y = seer_of(c, 0, line % c.h, passes.row_of_kernel(pass));
            if (y < 0) continue;
            const int64_t out_line = line / c.h * c.ho + y;
            const Mark* const of_row = marks.get() + out_line * marks_row;
            for (int64_t x = 0; x < c.w; ++x) {
              const auto [first, last, from] = passes.columns(pass, x);
              if (first < 0 || first >= last) continue;
              const Segment segment = {of_pass + from * passes.lanes, pairs.get() + out_line * room + of_row[first].pairs,
                                       of_row[last].pairs - of_row[first].pairs, of_row[last].sum - of_row[first].sum};
              if (segment.count) add(&segment, 1, rule, totals.get() + (line * c.w + x) * passes.lanes);
            }
          }
        }
        const int lanes = static_cast<int>(std::min(passes.lanes, c.c_in - block * passes.lanes));
        for (int64_t p = 0; p < images * pixels; ++p)
          vectorised<write>(static_cast<const int32_t*>(totals.get()) + p * passes.lanes, lanes, scale[image + p / pixels],
                            dx + (image * pixels + p) * c.c_in + block * passes.lanes);
      }
    }
  });
  return failed ? kNoMemory : kDone;
}

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
