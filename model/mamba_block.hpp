// One layer: norm and Mamba-1 mixer (spec Mamba 1.3, 1.4, 1.9). Private to model/.
//
// The residual stream is added up in the next layer's norm, so a block takes what the mixer before
// it has added (`hidden`) and gives what its own mixer adds.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"
#include "model/chunked_step.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"

#include <cstdint>

namespace mambase::model {

/// What a block computes on its way; backward reads it. Views into step memory.
struct BlockValues {
    TensorView residual;  // [B,T,D] the stream that is normed
    TensorView rstd;      // [B,T]   for backward alone
    TensorView normed;    // [B,T,D]
    TensorView xz;        // [B,T,2E] x, then the gate z
    TensorView u;         // [B,T,E] after the convolution
    TensorView x_dbl;     // [B,T,R+2N] Δ's low-rank input, B, C
    TensorView dt_raw;    // [B,T,E]
    TensorView gated;     // [B,T,E]
    TensorView scan;      // [bytes] the scan's own, for backward alone
    TensorView starts;    // [bytes] optional, as ops::SelectiveScan has them
    bool has_starts = false;

    /// All but `residual`, which outlives a block that keeps nothing, and `starts`.
    static BlockValues take(ops::Context& context,
                            const ModelConfig& config,
                            std::int64_t lanes,
                            std::int64_t length,
                            bool for_backward);
};

struct BlockStates {
    ConstTensorView conv_in;  // [B,W−1,E]
    ConstTensorView ssm_in;   // [B,E,N]
    TensorView conv_out;      // optional; may alias conv_in
    TensorView ssm_out;       // optional; may alias ssm_in
};

/// All optional: no gradient comes from what follows; none is asked for of what went before.
struct BlockStateGradients {
    ConstTensorView conv_out;  // [B,W−1,E]
    ConstTensorView ssm_out;   // [B,E,N]
    TensorView conv_in;        // may alias conv_out
    TensorView ssm_in;         // may alias ssm_out
};

/// Parameters of one layer, or the sums of their gradients.
template <class AnyView>
struct BlockParams {
    AnyView norm;           // [D]
    AnyView in_proj;        // [2E,D]
    AnyView in_proj_bias;   // [2E] optional
    AnyView conv;           // [E,W]
    AnyView conv_bias;      // [E] optional
    AnyView x_proj;         // [R+2N,E]
    AnyView dt_proj;        // [E,R]
    AnyView dt_bias;        // [E]
    AnyView a_log;          // [E,N]
    AnyView d;              // [E]
    AnyView out_proj;       // [D,E]
    AnyView out_proj_bias;  // [D] optional
};

class MambaBlock {
  public:
    MambaBlock(const Model& model, std::int64_t layer);

    /// The first layer's xz of embedded ids [B,T], the bits that forward() gives: norm and product
    /// of a position depend on its token alone, so they are done for the V rows of `table` and
    /// looked up.
    void project_tokens(ops::Context& context,
                        ConstTensorView ids,
                        ConstTensorView table,
                        TensorView xz) const;

    /// residual = residual_in + hidden (hidden absent: the first layer), then the mixer of its norm
    /// into `out` [B,T,D], which may be `hidden`. residual_in absent: values.xz is there already.
    /// ids [B,T]: optional, residual_in is a table [V,D] that they pick rows of.
    /// segment, valid: as in the ops, optional. for_training: as in ops::SelectiveScan.
    void forward(ops::Context& context,
                 ConstTensorView hidden,
                 ConstTensorView residual_in,
                 ConstTensorView ids,
                 ConstTensorView valid,
                 ConstTensorView segment,
                 bool for_training,
                 const BlockValues& values,
                 const BlockStates& states,
                 TensorView out) const;

    /// dstream [B,T,D] f32: gradient of the stream after this block; becomes that of the stream
    /// before it. dadded: the same in the type of the activations; dstream itself where that is
    /// f32. dstates: gradients of the states after and before the chunk.
    void backward(ops::Context& context,
                  const BlockValues& values,
                  ConstTensorView conv_in,
                  ConstTensorView ssm_in,
                  TensorView dstream,
                  TensorView dadded,
                  const BlockStateGradients& dstates,
                  Gradients& gradients) const;

  private:
    const ModelConfig& config_;
    const LayerParams& at_;
    BlockParams<ConstTensorView> weights_;
};

}  // namespace mambase::model
