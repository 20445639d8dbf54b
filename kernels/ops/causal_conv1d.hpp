#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

namespace mambase::ops {

/// c[t] = bias + Σ_w weight[:,w]·x[t − (W−1) + w],  y[t] = silu(c[t]);  x before position 0 is
/// state_in (spec: Mamba 1.3 step 3; taps are added oldest first).
///
/// State: the last W − 1 inputs, oldest first, those before the last border written as zeros; where
/// fewer than W − 1 positions are valid the older entries move up. Position 0 always continues
/// state_in. Where `segment` changes between t − 1 and t, taps that reach over the border are
/// masked. Rows from `valid` on: y is zero and no gradient passes.
struct CausalConv1d {
    ConstTensorView x;         // [B,T,E]   f32 or bf16, as all activations; rows may be strided
    ConstTensorView weight;    // [E,W]     f32, 2 <= W <= 4; tap W−1 meets the current position
    ConstTensorView bias;      // [E]       f32, optional
    ConstTensorView segment;   // [B,T]     i32, optional
    ConstTensorView valid;     // [B]       i64, optional: positions that count, default T
    ConstTensorView state_in;  // [B,W−1,E] f32, optional: zeros; may alias state_out
    TensorView y;              // [B,T,E]
    TensorView state_out;      // [B,W−1,E] f32, optional
};

struct CausalConv1dGrad {
    ConstTensorView x;           // as above
    ConstTensorView weight;      //
    ConstTensorView bias;        //
    ConstTensorView segment;     //
    ConstTensorView valid;       //
    ConstTensorView state_in;    //
    ConstTensorView dy;          // [B,T,E]
    ConstTensorView dstate_out;  // [B,W−1,E] f32, optional: zeros; may alias dstate_in
    TensorView dx;               // [B,T,E]   rows may be strided
    TensorView dweight;          // [E,W]     f64, accumulates
    TensorView dbias;            // [E]       f64, accumulates; present iff bias is
    TensorView dstate_in;        // [B,W−1,E] f32, optional
};

void check(const CausalConv1d& op);
void check(const CausalConv1dGrad& op);
void causal_conv1d_forward(Context& context, const CausalConv1d& op);
void causal_conv1d_backward(Context& context, const CausalConv1dGrad& op);

}  // namespace mambase::ops
