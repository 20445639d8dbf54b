// One chunk through the backbone with everything that its backward needs, and that backward.
// Private to model/.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"
#include "model/chunked_step.hpp"
#include "model/mamba_block.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"

#include <vector>

namespace mambase::model {

/// From ids to the rows after the final norm; the head is the caller's. What it keeps is in step
/// memory.
class BackbonePass {
  public:
    /// ids [B,T] u8, alive as long as this.
    BackbonePass(ops::Context& context, const Model& model, ConstTensorView ids);

    /// states_out: absent for a chunk that is run again.
    void forward(ConstTensorView states_in, TensorView states_out);
    /// [B,T,D] activations.
    TensorView normed() const { return normed_; }
    /// dnormed [B,T,D] activations. dstates_out: absent for the last chunk, which nothing follows;
    /// dstates_in: absent for the first, since no gradient is asked for of the initial states. The
    /// two may be one. input_gradient: as TrainBatch has it.
    void backward(ConstTensorView dnormed,
                  ConstTensorView states_in,
                  TensorView dstates_out,
                  TensorView dstates_in,
                  TensorView input_gradient,
                  Gradients& gradients);

  private:
    TensorView rows(DType type) const;
    ConstTensorView weight(std::size_t index) const { return params_[index].value.view(); }

    ops::Context& context_;
    const Model& model_;
    const ParamTable& params_;
    ConstTensorView ids_;
    const StateLayout layout_;
    std::vector<MambaBlock> blocks_;
    std::vector<BlockValues> values_;
    TensorView residual_;  // after the last block
    TensorView rstd_;
    TensorView normed_;
};

}  // namespace mambase::model
