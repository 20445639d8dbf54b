// The states of all layers and lanes: the only thing that survives between chunks.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "kernels/tensor/view.hpp"
#include "model/config.hpp"

#include <cstdint>

namespace mambase::model {

/// How states lie in one flat f32 array: for each layer first the convolution's, then the scan's.
class StateLayout {
  public:
    StateLayout(const ModelConfig& config, std::int64_t lanes);

    std::int64_t lanes() const noexcept { return lanes_; }
    std::int64_t layers() const noexcept { return layers_; }
    /// Values in all.
    std::int64_t count() const noexcept { return layers_ * (conv_count_ + ssm_count_); }
    /// `values`: [count()] f32. The last W − 1 inputs of the layer's convolution: [B,W−1,E].
    TensorView conv(TensorView values, std::int64_t layer) const;
    ConstTensorView conv(ConstTensorView values, std::int64_t layer) const;
    /// The recurrent state: [B,E,N].
    TensorView ssm(TensorView values, std::int64_t layer) const;
    ConstTensorView ssm(ConstTensorView values, std::int64_t layer) const;

  private:
    std::int64_t lanes_;
    std::int64_t layers_;
    Shape conv_shape_;
    Shape ssm_shape_;
    std::int64_t conv_count_;
    std::int64_t ssm_count_;
};

class StateBank {
  public:
    /// All zero: every lane at the start of a record. On the device of `queue`, which outlives it.
    StateBank(const ModelConfig& config, std::int64_t lanes, DeviceQueue& queue);

    const StateLayout& layout() const noexcept { return layout_; }
    std::int64_t lanes() const noexcept { return layout_.lanes(); }
    std::int64_t bytes() const noexcept { return values_.bytes(); }
    /// [layout().count()] f32.
    TensorView values() { return values_.view(); }
    ConstTensorView values() const { return values_.view(); }
    TensorView conv(std::int64_t layer) { return layout_.conv(values_.view(), layer); }
    TensorView ssm(std::int64_t layer) { return layout_.ssm(values_.view(), layer); }

    /// The lane starts a record.
    void reset(std::int64_t lane);
    void reset();
    /// The lane goes on from where `lane_from` of `from`, a bank of the same model, is.
    void copy_lane(std::int64_t lane, const StateBank& from, std::int64_t lane_from);
    /// Copies all states to, or from, [layout().count()] f32.
    void snapshot(TensorView out) const;
    void restore(ConstTensorView in);

    /// Throws Error{format} naming layer and lane where a state holds a NaN or an infinity.
    void require_finite(ops::Context& context) const;
    /// The same in two parts, for a caller who waits later: Σ value² into sum [1] f64 of the
    /// device, and what it was.
    void ask_sum(ops::Context& context, TensorView sum) const;
    void require_finite(ops::Context& context, double sum) const;

  private:
    StateLayout layout_;
    DeviceQueue* queue_;
    Tensor values_;
};

}  // namespace mambase::model
