// Where pixels or windows lie that are as far apart as their neighbours: in rows, of one image after the other.
#pragma once

#include <cstdint>

namespace gxnor {

struct Grid {
  uint8_t* first;                 // the first position of the first image
  int64_t image, row, position;   // bytes from one to the next
  int64_t height, width;          // positions of an image

  // The addresses of `count` positions, row by row, from position `begin` of all images on.
  void locate(int64_t begin, int count, uint8_t** to) const;
};

}  // namespace gxnor
