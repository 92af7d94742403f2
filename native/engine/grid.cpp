#include "engine/grid.h"

#include <algorithm>

#include "common/vectorise.h"

namespace gxnor {
namespace {

GXNOR_BODY void locate_all(const Grid* grid, int64_t begin, int count, int64_t shift, uint8_t** to) {
  using Four = Some<int64_t, 32>;
  const int64_t step = grid->position, pixels = grid->height * grid->width;
  const Four four = {0, step, 2 * step, 3 * step};
  int64_t number = begin / pixels, y = begin % pixels / grid->width, x = begin % grid->width;
  while (count > 0) {
    int64_t at = reinterpret_cast<int64_t>(grid->first) + shift + number * grid->image + y * grid->row + x * step;
    const int some = static_cast<int>(std::min<int64_t>(count, grid->width - x));
    int p = 0;
    for (; p + 4 <= some; p += 4, at += 4 * step) store(to + p, four + at);
    for (; p < some; ++p, at += step) store(to + p, at);
    to += some, count -= some;
    x = 0;
    if (++y == grid->height) y = 0, ++number;
  }
}

// The addresses of the first image, moved.
GXNOR_BODY void locate_as_first(uint8_t* const* first, int64_t pixels, int64_t image, int64_t begin, int count, int64_t shift,
                                uint8_t** to) {
  using Four = Some<int64_t, 32>;
  int64_t at = begin % pixels, further = begin / pixels * image + shift;
  for (; count > 0; at = 0, further += image) {
    const int some = static_cast<int>(std::min<int64_t>(count, pixels - at));
    int p = 0;
    for (; p + 4 <= some; p += 4) {
      Four four;
      load(four, first + at + p);
      store(to + p, four + further);
    }
    for (; p < some; ++p) to[p] = first[at + p] + further;
    to += some, count -= some;
  }
}

}  // namespace

void Grid::locate(int64_t begin, int count, uint8_t** to, int64_t shift) const {
  vectorised<locate_all>(this, begin, count, shift, to);
}

Positions::Positions(const Grid& grid, int64_t images)
    : grid_(grid), pixels_(grid.height * grid.width), small_(images > 1 && pixels_ <= kSmall) {
  if (small_) grid_.locate(0, static_cast<int>(pixels_), first_image_);
}

void Positions::locate(int64_t begin, int count, uint8_t** to, int64_t shift) const {
  if (!small_) return grid_.locate(begin, count, to, shift);
  uint8_t* const* const first = first_image_;
  vectorised<locate_as_first>(first, pixels_, grid_.image, begin, count, shift, to);
}

}  // namespace gxnor
