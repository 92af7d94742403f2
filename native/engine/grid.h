// Where pixels or windows lie that are as far apart as their neighbours: in rows, of one image after the other.
#pragma once

#include <cstdint>

namespace gxnor {

struct Grid {
  uint8_t* first;                 // the first position of the first image
  int64_t image, row, position;   // bytes from one to the next
  int64_t height, width;          // positions of an image

  // The addresses of `count` positions, row by row, from position `begin` of all images on, each `shift` bytes further.
  void locate(int64_t begin, int count, uint8_t** to, int64_t shift = 0) const;
};

// The same for a run of so many images: of several small ones, whose rows are short, the first one's addresses are kept.
class Positions {
 public:
  Positions(const Grid& grid, int64_t images);

  void locate(int64_t begin, int count, uint8_t** to, int64_t shift = 0) const;

 private:
  static constexpr int kSmall = 256;  // positions of an image

  const Grid grid_;
  const int64_t pixels_;
  const bool small_;
  uint8_t* first_image_[kSmall];
};

}  // namespace gxnor
