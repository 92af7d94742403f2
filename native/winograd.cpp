#include "winograd.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "threads.h"
#include "winograd_transform.h"

namespace gxnor {
namespace {

constexpr int kTaps = 9;
constexpr int kStripBytes = 320 * 1024;  // V of one strip: stays in the second cache while all output channels pass
constexpr int64_t kApart = 64;           // bytes between points, or all would begin in one set of the cache
constexpr int kFewest = 6, kMost = 96;   // tiles of a strip
constexpr int kWidth = 32;               // channels are padded to a multiple of this

int quads_of(int channels) { return static_cast<int>(divide_up(channels, kWidth)) * (kWidth / 4); }

// Bit i of a byte in byte i, as 0 or 1.
uint64_t apart(uint8_t bits) {
  const uint64_t each = bits * 0x0101010101010101u & 0x8040201008040201u;
  return (each + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;
}

// Bits to levels + 1, 8 channels at a time. No byte borrows: minus only where non-zero.
void spread(const uint8_t* nonzero, const uint8_t* minus, int64_t bytes, uint8_t* levels) {
  for (int64_t i = 0; i < bytes; ++i) {
    const uint64_t eight = 0x0101010101010101u + apart(nonzero[i]) - 2 * apart(minus[i]);
    std::memcpy(levels + 8 * i, &eight, 8);
  }
}

// Not zeroed, unlike an aligned_vector: what is read has been written.
template <typename T>
struct Memory {
  std::unique_ptr<T, void (*)(T*)> owner;

  explicit Memory(int64_t count)
      : owner(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T), std::align_val_t(64))),
              [](T* p) { ::operator delete(p, std::align_val_t(64)); }) {}
  T* get() const { return owner.get(); }
};

}  // namespace

// What one thread works in.
template <int M>
struct Winograd<M>::Strip {
  static constexpr int kPoints = Point<M>::kCount;
  Memory<uint8_t> rows, points;   // M + 2 rows of pixels of levels + 1; V, raised: [points][tiles][width]
  Memory<int8_t> weights;         // U of a block: [points][quads][16 lanes][4]
  Memory<PointSum<M>> offsets;    // of a block: [points][16 lanes]
  Memory<PointSum<M>> products;   // [points][tiles][16 lanes]
  Memory<int32_t> sums;           // [outputs, and one for those outside][16 lanes]
  std::vector<int32_t> slots;     // [tiles][M * M]: the row of `sums` that an output of a tile goes to
  std::vector<uint8_t*> outputs;

  Strip(int64_t tiles, int64_t width)
      : rows((M + 2) * (M * tiles + 2) * width),
        points(kPoints * (tiles * width + kApart)),
        weights(kPoints * (width * kLanes + kApart)),
        offsets(kPoints * kLanes),
        products(kPoints * tiles * kLanes),
        sums((M * M * tiles + 1) * kLanes),
        slots(M * M * tiles) {
    outputs.reserve(M * M * tiles);
  }
};

template <int M>
bool Winograd<M>::suits(const Buffer& input, const Geometry& g, int space) {
  const auto both = [](const int pair[2], int value) { return pair[0] == value && pair[1] == value; };
  // Of four channels, in outputs not yet divided by kScale^2. Sums on the way may wrap.
  constexpr int64_t largest = 4 * kTaps * Transform<M>::kScale * Transform<M>::kScale;
  constexpr int64_t most = std::numeric_limits<PointSum<M>>::max();
  return both(g.kernel, 3) && both(g.stride, 1) && both(g.dilation, 1) && g.groups == 1 && input.form == Form::bits &&
         space <= 1 && input.channels <= INT16_MAX && largest * quads_of(input.channels) <= most;
}

template <int M>
Winograd<M>::Winograd(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry,
                      const States& states, const Kernels& kernels, int threads, Finish finish)
    : input_(input),
      output_(output),
      padding_{geometry.padding[0], geometry.padding[1]},
      finish_(std::move(finish)),
      kernels_(kernels.winograd<M>()),
      quads_(quads_of(buffers[input].channels)),
      blocks_((buffers[output].channels - 1) / kLanes + 1) {
  arrange(states, buffers[output].channels, buffers[input].channels, threads);
}

template <int M>
void Winograd<M>::arrange(const States& states, int channels, int fan, int threads) {
  const int64_t tap = int64_t{quads_} * kLanes;  // bytes of a block's weights for it
  weights_.assign(static_cast<size_t>(blocks_ * kTaps * tap), 0x55);
  sums_.resize(static_cast<size_t>(blocks_) * kTaps * kLanes);
  parallel_for(channels, kLanes, threads, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> memory;
    for (int64_t channel = begin; channel < end; ++channel) {
      const int64_t block = channel / kLanes, lane = channel % kLanes;
      const uint8_t* indices = states.read(channel * fan * kTaps, int64_t{fan} * kTaps, memory);
      for (int64_t c = 0; c < fan; ++c) {
        const int64_t n = (c / 4 * kLanes + lane) * 4 + c % 4;  // its place in U
        const int shift = static_cast<int>(n % 128 / 32 * 2);
        uint8_t* to = weights_.data() + block * kTaps * tap + n / 128 * 32 + n % 32;
        for (int t = 0; t < kTaps; ++t, ++indices, to += tap) {
          const int code = states.N == 0 ? 2 * *indices : *indices;
          *to = static_cast<uint8_t>(*to ^ ((1 ^ code) << shift));  // level 0 stood there
          sums_[(block * kTaps + t) * kLanes + lane] += code - 1;
        }
      }
    }
  });
}

// V, raised, of `tiles` tiles of one row of tiles.
template <int M>
void Winograd<M>::enter(const Buffer& in, const uint8_t* image, int64_t tile_y, int64_t tile_x, int tiles, uint8_t* points,
                     int64_t point, uint8_t* rows) const {
  const int64_t width = int64_t{4} * quads_, pixels = M * int64_t{tiles} + 2, x0 = M * tile_x - padding_[1];
  const int64_t begin = std::clamp<int64_t>(-x0, 0, pixels), end = std::clamp<int64_t>(in.width - x0, begin, pixels);
  for (int i = 0; i < M + 2; ++i) {
    const int64_t y = M * tile_y - padding_[0] + i;
    uint8_t* row = rows + i * pixels * width;
    if (y < 0 || y >= in.height || begin == end) {
      std::memset(row, 1, pixels * width);
      continue;
    }
    std::memset(row, 1, begin * width);
    std::memset(row + end * width, 1, (pixels - end) * width);
    for (int64_t x = begin; x < end; ++x) {
      const uint8_t* from = image + in.at(y, x0 + x);
      spread(from, from + in.plane, in.pixel, row + x * width);
      std::memset(row + x * width + 8 * in.pixel, 1, width - 8 * in.pixel);
    }
  }
  kernels_.enter(rows, pixels * width, width, tiles, points, point);
}

template <int M>
gxnor_status Winograd<M>::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  constexpr int kPoints = Point<M>::kCount;
  const int64_t across = divide_up(out.width, M), down = divide_up(out.height, M), width = int64_t{4} * quads_;
  const int64_t tiles = run.images * across * down;
  int64_t strips = divide_up(tiles, std::clamp<int64_t>(kStripBytes / (kPoints * width), kFewest, kMost)), share = blocks_;
  if (strips > 1)
    strips = divide_up(strips, run.threads) * run.threads;
  else
    share = divide_up(blocks_, std::min(2 * run.threads - 1, blocks_));  // threads share the output channels instead
  const int64_t strip = divide_up(tiles, strips), shares = divide_up(blocks_, share);

  parallel_for(divide_up(tiles, strip) * shares, 1, run.threads, [&](int64_t begin, int64_t end) {
    Strip memory(strip, width);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t first = item / shares * strip, block = item % shares * share;
      const int count = static_cast<int>(std::min(strip, tiles - first));
      const int64_t point = count * width + kApart, weight = width * kLanes + kApart;
      memory.outputs.clear();
      for (int64_t at = first, some; at < first + count; at += some) {
        const int64_t image = at / (across * down), y = at / across % down, x = at % across;
        some = std::min(across - x, first + count - at);
        enter(in, run.scratch[input_] + image * in.image, y, x, static_cast<int>(some),
              memory.points.get() + (at - first) * width, point, memory.rows.get());
        for (int64_t p = 0; p < M * M * some; ++p) {
          const int64_t oy = M * y + p % (M * M) / M, ox = M * (x + p / (M * M)) + p % M;
          const bool inside = oy < out.height && ox < out.width;
          memory.slots[M * M * (at - first) + p] = inside ? static_cast<int32_t>(memory.outputs.size()) : M * M * count;
          if (inside) memory.outputs.push_back(run.scratch[output_] + image * out.image + out.at(oy, ox));
        }
      }
      for (int64_t b = block; b < std::min<int64_t>(block + share, blocks_); ++b) {
        kernels_.expand(weights_.data() + b * kTaps * quads_ * kLanes, sums_.data() + b * kTaps * kLanes, quads_,
                        memory.weights.get(), weight, memory.offsets.get());
        for (int p = 0; p < kPoints; ++p)
          kernels_.product(memory.points.get() + p * point, count, quads_, memory.weights.get() + p * weight,
                           memory.offsets.get() + p * kLanes, memory.products.get() + int64_t{p} * count * kLanes,
                           piece_of<M>(p));
        kernels_.leave(memory.products.get(), count, memory.slots.data(), memory.sums.get());
        finish_(out, static_cast<int>(b), static_cast<int>(memory.outputs.size()), memory.sums.get(), memory.outputs.data());
      }
    }
  });
  return GXNOR_OK;
}

template <int M>
int64_t Winograd<M>::bytes() const {
  return static_cast<int64_t>(sizeof *this + weights_.size() + sums_.size() * sizeof(int16_t)) + finish_.bytes();
}

template class Winograd<2>;
template class Winograd<4>;

}  // namespace gxnor
