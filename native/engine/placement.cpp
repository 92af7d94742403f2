// Forms and buffers of values (placement.h).
#include "engine/placement.h"

#include <algorithm>

#include "engine/depthwise.h"

namespace gxnor {
namespace {

Form form_of(const Value& value) {
  if (value.space == kSums && value.bound > INT16_MAX) return Form::int32;
  return value.space < 0 || value.space == 7 ? Form::int16 : value.space <= 1 ? Form::bits : Form::int8;
}

}  // namespace

bool Placement::only(const std::vector<int>& readers, int kind) const {
  return std::all_of(readers.begin(), readers.end(), [&](int reader) { return layer(reader).kind == kind; });
}

int Placement::sole_reader(int value, int kind) const {
  const std::vector<int>& readers = values_[value].readers;
  return readers.size() == 1 && only(readers, kind) ? readers[0] : 0;
}

bool Placement::wants_bytes(const gxnor_layer& layer, const Value& x) {
  const bool product = layer.kind == GXNOR_CONV || layer.kind == GXNOR_DENSE;
  return product && (layer.space > 1 || Depthwise::suits_bytes(layer, x.channels, x.space));
}

Form Placement::form_of(int number) const {
  const Value& value = values_[number];
  const Form form = gxnor::form_of(value);
  const auto bytes = [&](int reader) {
    switch (layer(reader).kind) {
      case GXNOR_MAX_POOL:
      case GXNOR_PAD:
      case GXNOR_UPSAMPLE:
      case GXNOR_CHANNELS: return form_of(reader) == Form::int8;  // their output has the form of their input
      default: return wants_bytes(layer(reader), value);
    }
  };
  return form == Form::bits && std::all_of(value.readers.begin(), value.readers.end(), bytes) ? Form::int8 : form;
}

int Placement::make(Form form, const Value& value, const int margin[2]) {
  buffers_.emplace_back(form, static_cast<int>(value.channels), static_cast<int>(value.height),
                        static_cast<int>(value.width), margin[0], margin[1]);
  return static_cast<int>(buffers_.size()) - 1;
}

int Placement::place(int number) {
  const int reader = sole_reader(number, GXNOR_CONCAT);
  const Form form = form_of(number);
  if (!reader || form != form_of(reader)) return make(number);
  int64_t first = 0;
  for (const int input : inputs_of(layer(reader))) {
    if (input == number) break;
    first += values_[input].channels;
  }
  const int64_t channels = values_[number].channels;
  if (form == Form::bits && (first % 8 || channels % 8)) return make(number);
  const int whole = whole_of(reader);
  return values_[number].buffer =
             within(whole, buffers_[whole].part(static_cast<int>(first), static_cast<int>(channels)));
}

int Placement::place_as(int number, const Value& x) {
  const Form form = of(x).form;
  return form == form_of(number) ? place(number) : make(number, form);
}

int Placement::whole_of(int number) {
  const auto found = wholes_.find(number);
  if (found != wholes_.end()) return found->second;
  return wholes_[number] = make(form_of(number), values_[number], values_[number].margin);
}

int Placement::within(int buffer, Buffer view) {
  view.whole = buffers_[buffer].whole < 0 ? buffer : buffers_[buffer].whole;
  buffers_.push_back(view);
  return static_cast<int>(buffers_.size()) - 1;
}

int Placement::folded(int buffer, const Fold& fold) {
  return fold.pixels == 1 ? buffer : within(buffer, fold(buffers_[buffer]));
}

}  // namespace gxnor
