// A 3x3 convolution by Winograd (winograd.h): strips of tiles, each passing all blocks of output channels.
#include "engine/winograd.h"

#include <algorithm>
#include <cstring>

#include "common/threads.h"
#include "common/vectorise.h"
#include "kernels/winograd_transform.h"

namespace gxnor {
namespace {

constexpr int kTaps = 9;
constexpr int64_t kApart = 64;           // bytes between points, or all would begin in one set of the cache
constexpr int kMostGroups = 8;           // of a strip
constexpr int kWidth = 32;               // channels are padded to a multiple of this

// Whether V and U fit in signed bytes at all points, and `fip` what they are together; and a pair of their products, V
// raised, in 16 bits, so that a piece (Tables) is one quad at least.
template <int M>
bool fits(int64_t top, int64_t weight_top, bool fip) {
  for (int p = 0; p < Point<M>::kCount; ++p) {
    const int64_t v = Point<M>::size(p) * top, u = Point<M>::weight(p) * weight_top;
    if (v > INT8_MAX || u > INT8_MAX || (fip && v + u > INT8_MAX) || 4 * v * u > INT16_MAX) return false;
  }
  return true;
}

int quads_of(int channels) { return static_cast<int>(divide_up(channels, kWidth)) * (kWidth / 4); }

// Not zeroed, unlike an aligned_vector: what is read has been written.
template <typename T>
struct Memory {
  std::unique_ptr<T, void (*)(T*)> owner;

  explicit Memory(int64_t count)
      : owner(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T), std::align_val_t(64))),
              [](T* p) { ::operator delete(p, std::align_val_t(64)); }) {}
  T* get() const { return owner.get(); }
};

// Levels of neighbouring pixels to levels + 1; ones after the channels.
GXNOR_BODY void spread_bytes(const uint8_t* from, int64_t pixel, int channels, int64_t pixels, uint8_t* to, int64_t width) {
  for (int64_t p = 0; p < pixels; ++p, from += pixel, to += width) {
    for (int c = 0; c < channels; ++c) to[c] = static_cast<uint8_t>(from[c] + 1);
    for (int64_t c = channels; c < width; ++c) to[c] = 1;
  }
}

WinogradWeights arrange(const States& states, int fan, int channels, int threads) {
  WinogradWeights weights(fan, channels, std::max(2, states.storage()), static_cast<int>(top_level(states.N)));
  const int bits = weights.bits, top = weights.top;
  const int together = 8 / bits * kPacked;  // levels in kPacked bytes
  std::fill(weights.levels.begin(), weights.levels.end(), static_cast<uint8_t>(top * (255 / ((1 << bits) - 1))));
  parallel_for(channels, kLanes, threads, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> memory;
    for (int64_t channel = begin; channel < end; ++channel) {
      const int64_t block = channel / kLanes, lane = channel % kLanes;
      const uint8_t* indices = states.read(channel * fan * kTaps, int64_t{fan} * kTaps, memory);
      for (int64_t c = 0; c < fan; ++c) {
        const int64_t n = (c / 4 * kLanes + lane) * 4 + c % 4;  // its place in U
        const int shift = static_cast<int>(n % together / kPacked) * bits;
        uint8_t* to = weights.levels.data() + block * weights.block_bytes() + n / together * kTaps * kPacked + n % kPacked;
        for (int t = 0; t < kTaps; ++t, ++indices, to += kPacked) {
          const int code = states.N == 0 ? 2 * *indices : *indices;
          *to = static_cast<uint8_t>(*to ^ ((top ^ code) << shift));  // level 0 stood there
          weights.sums[(block * kTaps + t) * kLanes + lane] += code - top;
        }
      }
    }
  });
  return weights;
}

}  // namespace

WinogradWeights::WinogradWeights(int inputs, int outputs, int bits, int top)
    : quads(quads_of(inputs)),
      blocks((outputs - 1) / kLanes + 1),
      bits(bits),
      top(top),
      levels(static_cast<size_t>(blocks * block_bytes())),
      sums(static_cast<size_t>(blocks) * kTaps * kLanes) {}

// What one thread works in.
template <int M>
struct Winograd<M>::Strip {
  static constexpr int kPoints = Point<M>::kCount;
  Memory<uint8_t> rows, points;   // M + 2 rows of pixels of levels + 1; V: [points][tiles][width]
  Memory<int8_t> weights;         // U: [points][blocks][quads][16 lanes][4]
  Memory<int32_t> own;            // [points][tiles], see PointProducts
  Memory<int32_t> offsets;        // [blocks][points][16 lanes]
  Memory<int32_t> products;       // of a group: [points][tiles][blocks][16 lanes]
  Memory<int32_t> sums;           // of a group: [tiles][cells][4][16 lanes]
  Memory<uint8_t> outside;        // instead of a pixel, where a tile reaches beyond the last one
  std::vector<uint8_t*> outputs, others;  // [tiles][cells], and [4] where not pooled; of the value that is added

  Strip(int64_t tiles, int64_t width, const WinogradKernels& kernels, const Buffer& output)
      : rows((M + 2) * (M * tiles + 2) * width),
        points(kPoints * (tiles * width + kApart)),
        weights(kPoints * (kernels.blocks * width * kLanes + kApart)),
        own(kernels.own ? kPoints * tiles : 0),
        offsets(kernels.blocks * kPoints * kLanes),
        products(kPoints * point_stride(kernels.group, kernels.blocks)),
        sums(M * M * kernels.group * kLanes),
        outside(output.plane + output.pixel),
        outputs(M * M * tiles),
        others(M * M * tiles) {}
};

template <int M>
bool Winograd<M>::suits(int channels, int64_t top, int64_t weight_top, bool fip) {
  // The sums of weights are held in 16 bits; so the outputs, however many times too large, fit in 32. Sums on the way may
  // wrap.
  return fits<M>(top, weight_top, fip) && channels * weight_top <= INT16_MAX;
}

template <int M>
bool Winograd<M>::suits(const Buffer& input, const Geometry& g, int top, int space, bool fip) {
  const bool states = (input.form == Form::bits || input.form == Form::int8) &&
                      input.pixel == pixel_bytes(input.form, input.channels);
  if (!both(g.kernel, 3) || !both(g.stride, 1) || !both(g.dilation, 1) || g.groups != 1 || !states) return false;
  return suits(input.channels, top, top_level(space), fip);
}

template <int M>
Winograd<M>::Winograd(const std::vector<Buffer>& buffers, int input, int output, const Geometry& geometry,
                      const States& states, int top, const WinogradKernels& kernels, int threads, Epilogue epilogue)
    : Winograd(input, output, geometry.padding, arrange(states, buffers[input].channels, buffers[output].channels, threads),
               top, kernels, std::move(epilogue)) {}

template <int M>
Winograd<M>::Winograd(int input, int output, const int padding[2], WinogradWeights weights, int top,
                      const WinogradKernels& kernels, Epilogue epilogue)
    : input_(input),
      output_(output),
      padding_{padding[0], padding[1]},
      epilogue_(std::move(epilogue)),
      top_(top),
      kernels_(kernels),
      weights_(std::move(weights)) {}

// V, raised where the product wants that, of `tiles` tiles of one row of tiles.
template <int M>
void Winograd<M>::input_transform(const Buffer& in, const uint8_t* image, int64_t tile_y, int64_t tile_x, int tiles,
                                  uint8_t* points, int64_t point, uint8_t* rows) const {
  const int64_t width = int64_t{4} * weights_.quads, pixels = M * int64_t{tiles} + 2, x0 = M * tile_x - padding_[1];
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
    const uint8_t* from = image + in.at(y, x0 + begin);
    if (in.form == Form::bits)
      kernels_.spread(from, from + in.plane, in.pixel, end - begin, row + begin * width, width);
    else
      vectorised<spread_bytes>(from, in.pixel, in.channels, end - begin, row + begin * width, width);
  }
  kernels_.input_transform(rows, pixels * width, width, tiles, top_, points, point);
}

// The pixels that the outputs of tiles `begin` to `end` of a row go to, in the order of `output_transform`; `outside` for
// those beyond the last one. Returns where the next ones are to be listed.
template <int M>
uint8_t** Winograd<M>::locate(const Buffer& out, uint8_t* image, int64_t row, int64_t begin, int64_t end, uint8_t* outside,
                              uint8_t** pixels) const {
  constexpr int kCells = M / 2;
  const int each = 2 / epilogue_.side(), size = kCells * each;  // sides of a cell and of a tile, in outputs
  for (int64_t column = begin; column < end; ++column)
    for (int cell = 0; cell < kCells * kCells; ++cell)
      for (int position = 0; position < each * each; ++position) {
        const int64_t y = size * row + cell / kCells * each + position / each;
        const int64_t x = size * column + cell % kCells * each + position % each;
        *pixels++ = y < out.height && x < out.width ? image + out.at(y, x) : outside;
      }
  return pixels;
}

// To the outputs of a block; products as the kernels have them.
template <int M>
void Winograd<M>::output_transform(const Buffer& out, int block, const int32_t* products, int tiles, int32_t* sums,
                        uint8_t* const* outputs, const uint8_t* const* others) const {
  if (kernels_.pack && epilogue_.packs(out, block)) {
    kernels_.pack(products, tiles, epilogue_.packing(out, block, 1), epilogue_.pooled, outputs);
    return;
  }
  kernels_.output_transform(products, tiles, sums);
  epilogue_(out, block, M * M / epilogue_.cell() * tiles, sums, outputs, others);
}

template <int M>
gxnor_status Winograd<M>::run(const std::vector<Buffer>& buffers, const Run& run) const {
  const Buffer &in = buffers[input_], &out = buffers[output_];
  constexpr int kPoints = Point<M>::kCount;
  const int size = M / epilogue_.side();  // of a tile, in outputs
  const int group = kernels_.group;
  const int64_t across = divide_up(out.width, size), down = divide_up(out.height, size), width = int64_t{4} * weights_.quads;
  const int64_t tiles = run.images * across * down;
  const int64_t groups = std::clamp<int64_t>(kernels_.strip / (kPoints * width * group), 1, kMostGroups);
  int64_t strips = divide_up(tiles, groups * group), share = weights_.blocks;
  if (strips > 1)
    strips = std::min(divide_up(strips, run.threads) * run.threads, divide_up(tiles, group));
  else
    share = divide_up(weights_.blocks, std::min(run.threads, weights_.blocks));  // threads share the output channels instead
  share = divide_up(share, kernels_.blocks) * kernels_.blocks;
  const int64_t shares = divide_up(weights_.blocks, share);

  parallel_for(strips * shares, 1, run.threads, [&](int64_t begin, int64_t end) {
    Strip memory(divide_up(tiles, strips), width, kernels_, out);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t strip = item / shares, first = tiles * strip / strips, count = tiles * (strip + 1) / strips - first;
      const int64_t block = item % shares * share;
      const int64_t point = count * width + kApart;
      uint8_t **output = memory.outputs.data(), **added = memory.others.data();
      const Buffer* const other = epilogue_.other();
      for (int64_t tile = 0, some; tile < count; tile += some) {
        const int64_t at = first + tile, image = at / (across * down), y = at / across % down, x = at % across;
        some = std::min(across - x, count - tile);
        uint8_t* const image_output = run.scratch[output_] + image * out.image;
        uint8_t* const points = memory.points.get() + tile * width;
        input_transform(in, run.scratch[input_] + image * in.image, y, x, static_cast<int>(some), points, point,
                        memory.rows.get());
        if (kernels_.own)
          kernels_.own(points, point, static_cast<int>(some), weights_.quads, memory.own.get() + tile, count);
        output = locate(out, image_output, y, x, x + some, memory.outside.get(), output);
        if (!other) continue;
        uint8_t* const image_other = run.scratch[epilogue_.residual->at] + image * other->image;
        added = locate(*other, image_other, y, x, x + some, image_other, added);
      }
      const int64_t after = std::min<int64_t>(block + share, weights_.blocks);
      for (int64_t from = block; from < after; from += kernels_.blocks) {
        const int blocks = static_cast<int>(std::min<int64_t>(kernels_.blocks, after - from));
        const int64_t weight = blocks * width * kLanes + kApart;
        for (int b = 0; b < blocks; ++b) {
          kernels_.filter_transform(weights_.block(from + b), top_, memory.weights.get() + b * width * kLanes, weight,
                                    memory.offsets.get() + b * kPoints * kLanes);
        }
        for (int64_t tile = 0, some; tile < count; tile += some) {
          some = divide_up(count - tile, divide_up(count - tile, group));
          kernels_.products({memory.points.get() + tile * width, point, memory.own.get() + tile, count, memory.weights.get(),
                             weight, memory.offsets.get(), static_cast<int>(some), weights_.quads, blocks,
                             top_ * weights_.top, memory.products.get()});
          for (int b = 0; b < blocks; ++b)
            output_transform(out, static_cast<int>(from + b), memory.products.get() + b * kLanes, static_cast<int>(some),
                  memory.sums.get(), memory.outputs.data() + size * size * tile, memory.others.data() + size * size * tile);
        }
      }
    }
  });
  return GXNOR_OK;
}

template <int M>
int64_t Winograd<M>::bytes() const {
  return static_cast<int64_t>(sizeof *this + weights_.levels.size() + weights_.sums.size() * sizeof(int16_t)) +
         epilogue_.bytes();
}

template class Winograd<2>;
template class Winograd<4>;

}  // namespace gxnor
