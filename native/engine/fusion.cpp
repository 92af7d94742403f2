// Which layers an epilogue does, and the epilogue (fusion.h).
#include "engine/fusion.h"

#include <memory>
#include <utility>

namespace gxnor {
namespace {

// The buffer of what a sum adds to `value`, or -1.
int other_of(const Placement& placement, const gxnor_layer& sum, int value) {
  return placement[sum.inputs[sum.inputs[0] == value ? 1 : 0]].buffer;
}

// The summand that is made here.
int own_of(const Fused& fused) { return fused.requantize ? fused.requantize : fused.value; }

}  // namespace

Fused fuse(const Placement& placement, int value, int reader) {
  Fused fused(value);
  const auto takes = [&](int number) {
    const gxnor_layer& layer = placement.layer(number);
    if (fused.add) return false;
    if (layer.kind == GXNOR_REQUANTIZE && !fused.requantize) {
      fused.requantize = number;
    } else if (layer.kind == GXNOR_ADD && other_of(placement, layer, fused.last) >= 0) {
      fused.add = number;
    } else {
      return false;
    }
    fused.last = number;
    return true;
  };
  const auto sole = [&] {
    const std::vector<int>& readers = placement[fused.last].readers;
    return readers.size() == 1 ? readers[0] : 0;
  };
  for (reader = reader ? reader : sole(); reader && takes(reader);) reader = sole();
  if (reader && placement.layer(reader).kind == GXNOR_THRESHOLD) fused.threshold = fused.last = reader;
  return fused;
}

int make(Placement& placement, int number, const Fused& fused) {
  const int buffer = placement.place(fused.last);
  for (; number != fused.last; number = placement[number].readers[0]) placement[number].buffer = buffer;
  return buffer;
}

Fold fold_of(const Placement& placement, const Fused& fused, std::vector<int> buffers) {
  if (fused.add) buffers.push_back(other_of(placement, placement.layer(fused.add), own_of(fused)));
  std::vector<const Buffer*> all;
  for (const int buffer : buffers) all.push_back(&placement.buffer(buffer));
  return Fold(all);
}

Epilogue epilogue(Placement& placement, const Kernels& kernels, const Fused& fused, const Fold& fold, bool flip) {
  std::shared_ptr<const Thresholds> thresholds;
  std::shared_ptr<Residual> residual;
  if (fused.requantize || fused.add) residual = std::make_shared<Residual>();
  if (fused.requantize) {
    const gxnor_layer& layer = placement.layer(fused.requantize);
    residual->requantize(fold, layer.factors[0], static_cast<const int32_t*>(layer.data[0]),
                         static_cast<const int64_t*>(layer.data[1]));
  }
  if (fused.add) {
    const gxnor_layer& layer = placement.layer(fused.add);
    const int own = layer.inputs[0] == own_of(fused) ? 0 : 1;
    const int other = placement.folded(other_of(placement, layer, own_of(fused)), fold);
    residual->add(other, placement.buffer(other), layer.factors[own], layer.factors[1 - own]);
  }
  if (fused.threshold) {
    const gxnor_layer& layer = placement.layer(fused.threshold);
    thresholds = std::make_shared<Thresholds>(layer.space, fold, static_cast<const int32_t*>(layer.data[0]),
                                              static_cast<const int8_t*>(layer.data[1]),
                                              placement[layer.inputs[0]].bound);
  }
  return {std::move(thresholds), flip, fused.pool > 0, kernels, std::move(residual)};
}

}  // namespace gxnor
