#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

namespace mambase::ops {

/// loss[b,t] = −log softmax(logits[b,t,·] over `support`)[targets[b,t]], in nats, logarithm and
/// sums in double precision; 0 where the weight is 0 (the target is then not looked at).
struct CrossEntropy {
    ConstTensorView logits;   // [B,T,V]
    ConstTensorView targets;  // [B,T]   u8
    ConstTensorView weight;   // [B,T]   f32, optional: ones
    ConstTensorView support;  // [S]     u8 ids to normalise over, optional: all V. A target with
                              // weight is in it.
    TensorView loss;          // [B,T]   f64, optional
    TensorView
        best;  // [B,T]   u8, optional: the most likely id of the support (the first of equals)
    // [B] f64, optional: += weight·loss, so a sum may be carried over chunks: position by position
    // on the CPU, on a device in tiles that chunks of whole gradient tiles do not cut.
    TensorView loss_sum;
};

/// dlogits = scale·scale_there·weight·(softmax − onehot(target)), over all V.
struct CrossEntropyGrad {
    ConstTensorView logits;   // [B,T,V]
    ConstTensorView targets;  // [B,T]   u8
    ConstTensorView weight;   // [B,T]   f32, optional
    double scale = 1.0;       // one over the sum of weights of the whole step
    /// [1] f64, optional: the same for a caller whose work is kept, read when the op runs.
    ConstTensorView scale_there = {};
    TensorView dlogits;  // [B,T,V] f32 (may alias logits) or bf16
};

void check(const CrossEntropy& op);
void check(const CrossEntropyGrad& op);
void cross_entropy_forward(Context& context, const CrossEntropy& op);
void cross_entropy_backward(Context& context, const CrossEntropyGrad& op);

}  // namespace mambase::ops
