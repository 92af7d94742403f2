// Where every value of a program lies: the form of its buffer, and whether its pixels are a part of another's.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "engine/fold.h"
#include "engine/plan.h"
#include "engine/values.h"

namespace gxnor {

class Placement {
 public:
  Placement(const gxnor_layer* layers, std::vector<Value> values, std::vector<Buffer>& buffers)
      : layers_(layers), values_(std::move(values)), buffers_(buffers) {}

  Value& operator[](int number) { return values_[number]; }
  const Value& operator[](int number) const { return values_[number]; }
  const gxnor_layer& layer(int number) const { return layers_[number - 1]; }
  const Buffer& buffer(int buffer) const { return buffers_[buffer]; }
  const Buffer& of(const Value& value) const { return buffers_[value.buffer]; }

  bool only(const std::vector<int>& readers, int kind) const;
  // The layer of this kind that is a value's one reader, or 0.
  int sole_reader(int value, int kind) const;

  // How a value is best held for those that read it.
  Form form_of(int number) const;
  // Whether a product reads states of one or two bits as bytes.
  static bool wants_bytes(const gxnor_layer& layer, const Value& x);

  // A new buffer, and, for the number of a value, where that lies from now on.
  int make(Form form, const Value& value, const int margin[2]);
  int make(int number, Form form) {
    return values_[number].buffer = make(form, values_[number], values_[number].margin);
  }
  int make(int number) { return make(number, form_of(number)); }

  // The buffer of a value; in that of a concatenation which alone reads it, where it is whole bytes there.
  int place(int number);
  // The same, of what has the form of value x.
  int place_as(int number, const Value& x);
  // The buffer of a concatenation, made with the first of its parts that is written there.
  int whole_of(int number);

  // A view of a buffer's pixels, as one more buffer.
  int within(int buffer, Buffer view);
  // The same buffer, with so many pixels computed as one.
  int folded(int buffer, const Fold& fold);

 private:
  const gxnor_layer* const layers_;
  std::vector<Value> values_;
  std::vector<Buffer>& buffers_;
  std::map<int, int> wholes_;  // buffers of concatenations
};

}  // namespace gxnor
