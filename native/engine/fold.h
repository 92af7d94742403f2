// Few channels: pixels side by side are computed as one, whose channels are theirs one after the other, so that they share
// the lanes of a block. In memory they are that already.
#pragma once

#include <algorithm>
#include <vector>

#include "engine/plan.h"

namespace gxnor {

struct Fold {
  int channels;    // of a pixel
  int slot;        // lanes that it takes: bits come by bytes
  int pixels = 1;  // side by side

  // Each pixel on its own.
  explicit Fold(int channels) : channels(channels), slot(channels) {}

  // As many pixels of these buffers as their lanes hold and their rows divide into.
  explicit Fold(const std::vector<const Buffer*>& buffers) : Fold(buffers[0]->channels) {
    const int apart = slot_of(*buffers[0]);
    for (const Buffer* buffer : buffers)
      if (slot_of(*buffer) != apart || buffer->width != buffers[0]->width) return;
    for (int some = kLanes / apart; some > 1; --some)
      if (buffers[0]->width % some == 0) {
        slot = apart, pixels = some;
        return;
      }
  }

  int lanes() const { return slot * pixels; }
  int pixel(int lane) const { return lane / slot; }
  // Of a lane, or -1 where there is none.
  int channel(int lane) const {
    const int channel = lane % slot;
    return lane < lanes() && channel < channels ? channel : -1;
  }

  Buffer operator()(Buffer buffer) const {
    buffer.channels = lanes();
    buffer.width /= pixels;
    buffer.pixel *= pixels;
    return buffer;
  }

 private:
  // Lanes from one pixel to the next, or more than a block has: pixels with gaps, or with more than channels.
  static int slot_of(const Buffer& buffer) {
    switch (buffer.form) {
      case Form::bits: return static_cast<int>(std::min<int64_t>(8 * buffer.pixel, kLanes + 1));
      case Form::int8: return buffer.pixel == buffer.channels ? buffer.channels : kLanes + 1;
      case Form::pixels: return kLanes + 1;
      case Form::int16: return buffer.pixel == 2 * buffer.channels ? buffer.channels : kLanes + 1;
      case Form::int32: return buffer.pixel == 4 * buffer.channels ? buffer.channels : kLanes + 1;
    }
    return kLanes + 1;
  }
};

}  // namespace gxnor
