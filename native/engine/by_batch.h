// Two ways to compute one layer: one for few images per thread, one for many.
#pragma once

#include <cmath>
#include <memory>
#include <string>

#include "engine/plan.h"

namespace gxnor {

class ByBatch : public Step {
 public:
  // `few` runs with fewer than `below` images per thread.
  ByBatch(std::unique_ptr<Step> few, std::unique_ptr<Step> many, double below)
      : few_(std::move(few)),
        many_(std::move(many)),
        below_(below),
        name_(many_->name() +
              (" from " + std::to_string(static_cast<int>(std::ceil(below))) + " images per thread on, else ") +
              few_->name()) {}

  gxnor_status run(const std::vector<Buffer>& buffers, const Run& run) const override {
    return (run.images < below_ * run.threads ? few_ : many_)->run(buffers, run);
  }
  const char* name() const override { return name_.c_str(); }
  int64_t bytes() const override { return static_cast<int64_t>(sizeof *this) + few_->bytes() + many_->bytes(); }

 private:
  const std::unique_ptr<Step> few_, many_;
  const double below_;
  const std::string name_;
};

}  // namespace gxnor
