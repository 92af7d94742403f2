#include "engine/grid.h"

#include <algorithm>

#include "common/vectorise.h"

namespace gxnor {
namespace {

GXNOR_BODY void locate_all(const Grid* grid, int64_t begin, int count, uint8_t** to) {
  using Four = Some<int64_t, 32>;
  const int64_t step = grid->position, pixels = grid->height * grid->width;
  const Four four = {0, step, 2 * step, 3 * step};
  int64_t number = begin / pixels, y = begin % pixels / grid->width, x = begin % grid->width;
  while (count > 0) {
    int64_t at = reinterpret_cast<int64_t>(grid->first) + number * grid->image + y * grid->row + x * step;
    const int some = static_cast<int>(std::min<int64_t>(count, grid->width - x));
    int p = 0;
    for (; p + 4 <= some; p += 4, at += 4 * step) store(to + p, four + at);
    for (; p < some; ++p, at += step) store(to + p, at);
    to += some, count -= some;
    x = 0;
    if (++y == grid->height) y = 0, ++number;
  }
}

}  // namespace

void Grid::locate(int64_t begin, int count, uint8_t** to) const { vectorised<locate_all>(this, begin, count, to); }

}  // namespace gxnor
