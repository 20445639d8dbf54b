// AdamW over the whole parameter table, with clipping by the global norm.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "model/chunked_step.hpp"
#include "model/model.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mambase::model {

struct AdamWOptions {
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;
    double weight_decay = 0.1;  // times the rate; not on A_log, D, biases and norms
    double clip = 1.0;          // largest global norm of the gradient; 0: no clipping

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

class AdamW {
  public:
    /// On the device of `queue`, where the model is.
    AdamW(const Model& model, const AdamWOptions& options, DeviceQueue& queue);

    /// One update with rate `lr`. Returns the global norm before clipping; throws Error{format}
    /// where it is not finite, and then nothing has changed.
    double step(ops::Context& context, Model& model, const Gradients& gradients, double lr);

    /// Updates so far; with the moments, all there is to save and to set on resuming.
    std::int64_t steps() const noexcept { return steps_; }
    void set_steps(std::int64_t steps) noexcept { steps_ = steps; }
    std::size_t size() const noexcept { return m_.size(); }
    /// First and second moment of parameter `index` of the table, in its shape, f32.
    TensorView m(std::size_t index) { return m_[index].view(); }
    TensorView v(std::size_t index) { return v_[index].view(); }

  private:
    AdamWOptions options_;
    std::int64_t steps_ = 0;
    std::vector<Tensor> m_;
    std::vector<Tensor> v_;
};

}  // namespace mambase::model
