#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

namespace mambase::ops {

/// residual_out = residual_in + hidden (residual_in alone where hidden is absent)
/// rstd = 1/sqrt(mean(residual_out²) + eps),  y = residual_out·rstd·weight           (spec:
/// Mamba 1.4)
struct RmsNorm {
    ConstTensorView hidden;       // [B,T,D] f32 or bf16, optional: what the mixer before has added
    ConstTensorView residual_in;  // [B,T,D] f32; with ids [V,D]: row t is that of ids[t]
    ConstTensorView ids = {};     // [B,T]   u8, each below V, optional
    ConstTensorView weight;       // [D]     f32
    float eps = 1e-5F;
    TensorView residual_out;  // [B,T,D] f32, optional, may alias residual_in
    TensorView y;             // [B,T,D] f32 or bf16
    TensorView rstd;          // [B,T]   f32, optional; needed by backward
};

/// dx = (g − x̂·mean(x̂·g))·rstd + dresidual_out with x̂ = residual_out·rstd, g = weight·dy; it is the
/// gradient of hidden and of residual_in alike.
struct RmsNormGrad {
    ConstTensorView residual_out;   // [B,T,D]
    ConstTensorView weight;         // [D]
    ConstTensorView rstd;           // [B,T]
    ConstTensorView dy;             // [B,T,D] f32 or bf16
    ConstTensorView dresidual_out;  // [B,T,D] f32, optional
    TensorView dx;                  // [B,T,D] f32, may alias dresidual_out
    TensorView dx_bf16;             // [B,T,D] bf16, optional: dx rounded, for the mixer before
    TensorView dweight;             // [D]     f64, accumulates
};

void check(const RmsNorm& op);
void check(const RmsNormGrad& op);
void rms_norm_forward(Context& context, const RmsNorm& op);
void rms_norm_backward(Context& context, const RmsNormGrad& op);

}  // namespace mambase::ops
