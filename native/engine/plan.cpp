// A plan's run (plan.h): scratch memory is borrowed, and images are spread over the threads.
#include "engine/plan.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "common/threads.h"

namespace gxnor {
namespace {

constexpr int64_t kLargest = int64_t{1} << 30;  // bytes of one image in one buffer; keeps every offset inside int32
constexpr int64_t kScratch = int64_t{1} << 26;  // bytes that they may take; one image takes what it needs
constexpr size_t kIdle = 16;                    // scratch memories kept for the next run

}  // namespace

int64_t pixel_bytes(Form form, int channels) {
  switch (form) {
    case Form::bits: return (channels + 7) / 8;
    case Form::int8: return channels;
    case Form::pixels: return channels + int64_t{1};
    case Form::int16: return int64_t{2} * channels;
    case Form::int32: return int64_t{4} * channels;
  }
  return 0;
}

Buffer::Buffer(Form form, int channels, int height, int width, int margin_y, int margin_x)
    : form(form), channels(channels), height(height), width(width) {
  pixel = pixel_bytes(form, channels);
  row = pixel * (width + int64_t{2} * margin_x);
  const int64_t rows = height + int64_t{2} * margin_y;
  if (row > kLargest || rows > kLargest / row) throw Failure{GXNOR_TOO_LARGE};
  plane = (rows * row + 63) / 64 * 64;
  image = form == Form::bits ? 2 * plane : plane;
  origin = margin_y * row + margin_x * pixel;
}

Buffer Buffer::part(int first, int count) const {
  Buffer part = *this;
  part.channels = count;
  part.origin += pixel_bytes(form, first);
  return part;
}

Buffer Buffer::around(const int before[2], const int after[2]) const {
  Buffer all = *this;
  all.height += before[0] + after[0];
  all.width += before[1] + after[1];
  all.origin = at(-before[0], -before[1]);
  return all;
}

void load(const Buffer& buffer, const uint8_t* from, int32_t* integers) {
  switch (buffer.form) {
    case Form::bits:
      for (int c = 0; c < buffer.channels; ++c) {
        const int nonzero = from[c / 8] >> c % 8 & 1, minus = from[buffer.plane + c / 8] >> c % 8 & 1;
        integers[c] = nonzero - 2 * minus;
      }
      break;
    case Form::int8:
      for (int c = 0; c < buffer.channels; ++c) integers[c] = static_cast<int8_t>(from[c]);
      break;
    case Form::pixels: break;  // read by products alone
    case Form::int16:
      for (int c = 0; c < buffer.channels; ++c) {
        int16_t value;
        std::memcpy(&value, from + 2 * c, 2);
        integers[c] = value;
      }
      break;
    case Form::int32: std::memcpy(integers, from, sizeof(int32_t) * buffer.channels); break;
  }
}

void store(const Buffer& buffer, uint8_t* to, const int32_t* integers) {
  switch (buffer.form) {
    case Form::bits:
      for (int first = 0; first < buffer.channels; first += 8) {
        unsigned nonzero = 0, minus = 0;
        for (int c = first; c < std::min(first + 8, buffer.channels); ++c) {
          nonzero |= static_cast<unsigned>(integers[c] != 0) << (c - first);
          minus |= static_cast<unsigned>(integers[c] < 0) << (c - first);
        }
        to[first / 8] = static_cast<uint8_t>(nonzero);
        to[buffer.plane + first / 8] = static_cast<uint8_t>(minus);
      }
      break;
    case Form::int8:
      for (int c = 0; c < buffer.channels; ++c) to[c] = static_cast<uint8_t>(integers[c]);
      break;
    case Form::pixels: break;  // written by InputStep alone
    case Form::int16:
      for (int c = 0; c < buffer.channels; ++c) {
        const int16_t value = static_cast<int16_t>(integers[c]);
        std::memcpy(to + 2 * c, &value, 2);
      }
      break;
    case Form::int32: std::memcpy(to, integers, sizeof(int32_t) * buffer.channels); break;
  }
}

Scratch::Scratch(const std::vector<Buffer>& buffers, int64_t images) : images(images) {
  for (const Buffer& buffer : buffers) {
    if (buffer.whole >= 0) {
      begins.push_back(begins[buffer.whole]);
      continue;
    }
    void* zeros = std::calloc(static_cast<size_t>(images * buffer.image + Buffer::kSlack), 1);
    std::unique_ptr<uint8_t, void (*)(void*)> owner(static_cast<uint8_t*>(zeros), std::free);
    if (!owner) throw std::bad_alloc();
    begins.push_back(owner.get());
    memory.push_back(std::move(owner));
  }
}

}  // namespace gxnor

using gxnor::divide_up;
using gxnor::Scratch;

std::unique_ptr<Scratch> gxnor_plan::acquire(int64_t images) const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = std::find_if(idle_.begin(), idle_.end(), [&](const auto& s) { return s->images >= images; });
    if (found != idle_.end()) {
      auto scratch = std::move(*found);
      idle_.erase(found);
      return scratch;
    }
    if (!idle_.empty()) idle_.pop_back();  // too small ones make room for larger ones
  }
  return std::make_unique<Scratch>(buffers, images);
}

void gxnor_plan::give_back(std::unique_ptr<Scratch> scratch) const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (idle_.size() < gxnor::kIdle) idle_.push_back(std::move(scratch));
}

gxnor_status gxnor_plan::run(const uint8_t* x, int64_t batch, int threads, float* logits, double* seconds) const {
  if (batch <= 0) return GXNOR_OK;
  threads = std::max(threads, 1);
  // Enough images: every thread takes some through all layers. Few: the threads share the work of each layer.
  const bool apart = batch >= 2 * static_cast<int64_t>(threads);
  const int64_t most = std::clamp<int64_t>(gxnor::kScratch / image_bytes(), 1, gxnor::kMostImages);
  const int64_t rounds = divide_up(batch, apart ? most * threads : most);
  const int64_t tile = divide_up(batch, apart ? rounds * threads : rounds);
  std::atomic<int> status{GXNOR_OK};
  const auto body = [&](int64_t begin, int64_t end, int inner) {
    for (int64_t at = begin; at < end; at += tile) {
      const int64_t images = std::min(tile, end - at);
      auto scratch = acquire(images);
      const gxnor::Run run{*scratch, images, inner, x + at * input_size, logits + at * classes};
      for (size_t i = 0; i < steps.size(); ++i) {
        const auto start = seconds ? std::chrono::steady_clock::now() : std::chrono::steady_clock::time_point();
        const gxnor_status failed = steps[i]->run(buffers, run);
        if (seconds) {
          const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
          std::lock_guard<std::mutex> lock(mutex_);
          seconds[i] += taken.count();
        }
        if (failed) {
          status = failed;
          break;
        }
      }
      give_back(std::move(scratch));
    }
  };
  if (apart)
    gxnor::parallel_for(batch, tile, threads, [&](int64_t begin, int64_t end) { body(begin, end, 1); });
  else
    body(0, batch, threads);
  return static_cast<gxnor_status>(status.load());
}

int64_t gxnor_plan::image_bytes() const {
  int64_t sum = 1;
  for (const gxnor::Buffer& buffer : buffers) sum += buffer.whole < 0 ? buffer.image : 0;
  return sum;
}

int64_t gxnor_plan::bytes() const {
  int64_t sum = sizeof *this + static_cast<int64_t>(buffers.size() * sizeof(gxnor::Buffer));
  for (const auto& step : steps) sum += step->bytes();
  return sum;
}
