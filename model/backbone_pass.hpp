// One chunk through the backbone with everything that its backward needs, and that backward; and
// all chunks of an exact step. Private to model/.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"
#include "model/chunked_step.hpp"
#include "model/mamba_block.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"

#include <cstdint>
#include <functional>
#include <vector>

namespace mambase::model {

/// Positions of a chunk of `chunk` >= 1 in a step over `length`: whole gradient tiles, or all.
std::int64_t whole_tiles(const ops::OpTable& table, std::int64_t chunk, std::int64_t length);

/// Chunks of a step, from the first on, whose scans find in the second pass where the first pass
/// had its pieces start: as many as a fixed amount of memory holds, none where the backend has no
/// use for it. `chunk` as of whole_tiles().
std::int64_t chunks_with_scan_starts(const ops::OpTable& table,
                                     const ModelConfig& config,
                                     std::int64_t lanes,
                                     std::int64_t length,
                                     std::int64_t chunk);

/// Where the scans' pieces start, chunk by chunk: kept in step memory by a step's first pass for
/// its second, of as many chunks as chunks_with_scan_starts() says.
class ScanStarts {
  public:
    /// `chunk` as of whole_tiles().
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
    BackbonePass(ops::Context& context, const Model& model, ConstTensorView ids);

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
    const StateLayout layout_;
    std::vector<MambaBlock> blocks_;
    std::vector<BlockValues> values_;
    TensorView residual_;  // after the last block
    TensorView rstd_;
    TensorView normed_;
};

/// A chunk of a step: positions [lo, hi).
struct ChunkRange {
    std::int64_t lo = 0;
    std::int64_t hi = 0;
    bool last = false;
};

/// An exact step over ids [B,T], T >= 1, in chunks. From left to right `read` takes each chunk but
/// the last: forward, with the states carried in `states`; scan_starts as of Chunk. Then from right
/// to left each chunk runs with its backward: `rows_gradient` gives the gradient of its rows after
/// the final norm [B,T,D], in step memory. input_gradient as TrainBatch has it. `states` is left as
/// after the last position.
void run_chunks(
    ops::Context& context,
    const Model& model,
    ConstTensorView ids,
    std::int64_t chunk,
    StateBank& states,
    const std::function<void(const ChunkRange& part, TensorView scan_starts)>& read,
    const std::function<TensorView(const ChunkRange& part, TensorView normed)>& rows_gradient,
    TensorView input_gradient,
    Gradients& gradients);

}  // namespace mambase::model
