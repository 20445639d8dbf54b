// bench: short windows packed as the commands pack them, beside one record.
#pragma once

#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/shape.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"
#include "pipelines/engine.hpp"

#include <cstdint>

namespace mambase::pipelines {

class PackedForward {
  public:
    /// As many windows of `window` positions as make up `bases`, at least one; at once those that
    /// `rows` rows take, at least one. Random bases; `model` outlives this.
    PackedForward(Engine& engine,
                  const model::Model& model,
                  std::int64_t window,
                  std::int64_t bases,
                  std::int64_t rows,
                  std::uint64_t seed);

    void forward(ops::Context& context);

    /// Of all calls.
    std::int64_t bases() const { return calls_ * shape_.count(); }
    /// Of a lane.
    std::int64_t length() const { return shape_[1]; }

  private:
    const model::Model& model_;
    Shape shape_;  // of a call
    std::int64_t calls_ = 0;
    Tensor ids_;
    Tensor segment_;
    model::StateBank states_;
};

}  // namespace mambase::pipelines
