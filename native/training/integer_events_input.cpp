// The gradient of the input is sums of rows of bytes, each times an event:
//   dx[position] = sum over the events of the outputs that see it of q * w[output][tap],  a row of input channels.
#include <atomic>

#include "training/integer_event_lists.h"
#include "training/team.h"

namespace gxnor {
namespace {

constexpr int64_t kNear = 25 << 10;  // bytes of rows that stay in a core's fastest cache

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

}  // namespace gxnor
