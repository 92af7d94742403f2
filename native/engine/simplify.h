// The same program in fewer passes over the values, before it becomes a plan.
//
// Thresholds of a requantized value are thresholds of the value: of y = (m x + o) >> s, y >= t where m x + o >= t 2^s. And
// thresholds of a concatenation are a concatenation of thresholds, which takes bits instead of sums. So where nothing but
// thresholds reads them, requantizations and concatenations of sums vanish: all of a DenseNet's.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "engine/values.h"

namespace gxnor {

struct Simplified {
  std::vector<gxnor_layer> layers;
  std::vector<int> origin;  // the number of the layer that each was made from

  // `values` as infer gives them.
  Simplified(const gxnor_layer* layers, int count, const std::vector<Value>& values);

 private:
  // Thresholds of value `number`, from so many of its channels on.
  struct Steps {
    int space;
    const int32_t* thresholds;  // [channels][2^space]
    const int8_t* sign;         // [channels]
  };

  bool dissolves(int number) const;
  int threshold(int number, Steps steps);
  Steps before(const gxnor_layer& requantize, int64_t channels, const Steps& steps);
  int add(gxnor_layer layer);
  template <typename T>
  T* hold(std::deque<std::vector<T>>& memory, std::vector<T> data);

  const gxnor_layer* const given_;
  const std::vector<Value>& values_;
  int at_ = 0;                           // the number of the layer that is being made
  std::vector<bool> gone_;               // by number of the value
  std::vector<int> number_;              // of what a value has become
  std::deque<std::vector<int32_t>> integers_;  // that the new layers point to
  std::deque<std::vector<int8_t>> signs_;
};

}  // namespace gxnor
