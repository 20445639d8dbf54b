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

/// Where the scans' pieces start, chunk by chunk: kept in step memory by a step's first pass for
/// its second, of as many chunks as chunks_with_scan_starts() says.
class ScanStarts {
  public:
    /// `chunk` is whole gradient tiles, or all of `length`.
    ScanStarts(ops::Context& context,
               const ModelConfig& config,
               std::int64_t lanes,
               std::int64_t length,
               std::int64_t chunk);
    /// [L,bytes] u8 of chunk k; absent where none are kept.
    TensorView of(std::int64_t k) const;

  private:
    std::int64_t chunks_;
    TensorView values_;  // [chunks,L,bytes]
};

/// From ids to the rows after the final norm; the head is the caller's. What it keeps is in step
/// memory.
class BackbonePass {
  public:
    /// ids [B,T] u8, alive as long as this.
    /// window: positions of the whole that ids [B,T] are a part of.
    BackbonePass(ops::Context& context,
                 const Model& model,
                 ConstTensorView ids,
                 std::int64_t window);

    /// states_out: absent for a chunk that is run again. scan_starts: of the chunk's first run,
    /// optional.
    void forward(ConstTensorView states_in, TensorView states_out, TensorView scan_starts);
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
    std::int64_t window_;
    const StateLayout layout_;
    std::vector<MambaBlock> blocks_;
    std::vector<BlockValues> values_;
    TensorView residual_;  // after the last block
    TensorView rstd_;
    TensorView normed_;
};

}  // namespace mambase::model
