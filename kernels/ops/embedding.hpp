#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

namespace mambase::ops {

/// y[b,t,:] = table[ids[b,t],:]
struct Embedding {
    ConstTensorView ids;    // [B,T]   u8, each below V
    ConstTensorView table;  // [V,D]   f32, or the type of y
    TensorView y;           // [B,T,D] f32 or bf16
};

struct EmbeddingGrad {
    ConstTensorView ids;  // [B,T]   u8
    ConstTensorView dy;   // [B,T,D] f32 or bf16
    TensorView dtable;    // [V,D]   f64, accumulates
};

void check(const Embedding& op);
void check(const EmbeddingGrad& op);
void embedding_forward(Context& context, const Embedding& op);
void embedding_backward(Context& context, const EmbeddingGrad& op);

}  // namespace mambase::ops
