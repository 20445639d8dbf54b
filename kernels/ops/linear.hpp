#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

namespace mambase::ops {

/// y = x·weightᵀ + bias. Rows of x and y may be strided (a slice of the last dimension); elements
/// of a row are adjacent. A row's bits do not depend on how many rows there are, nor on the number
/// of threads.
struct Linear {
    ConstTensorView x;       // [B,T,I] f32 or bf16
    ConstTensorView weight;  // [O,I]   f32; rounded to bf16 where x is
    ConstTensorView bias;    // [O]     f32, optional
    TensorView y;            // [B,T,O] as x, or f32
};

struct LinearGrad {
    ConstTensorView x;       // [B,T,I]
    ConstTensorView weight;  // [O,I]
    ConstTensorView dy;      // [B,T,O]
    TensorView dx;           // [B,T,I], optional
    bool add_to_dx = false;  // dx += instead of dx =
    TensorView dweight;      // [O,I]   f64, accumulates
    TensorView dbias;        // [O]     f64, optional, accumulates
};

void check(const Linear& op);
void check(const LinearGrad& op);
void linear_forward(Context& context, const Linear& op);
void linear_backward(Context& context, const LinearGrad& op);

}  // namespace mambase::ops
