#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

namespace mambase::ops {

/// y = x in y's type: f32 ↔ bf16 (round to nearest even), f32 ↔ f64. Both contiguous, same shape.
/// No backward.
struct Cast {
    ConstTensorView x;
    TensorView y;
};

/// Every element of y = value (f32, f64, i32, i64, u8). y contiguous. No backward.
struct Fill {
    TensorView y;
    double value = 0.0;
};

/// y += x, both f64, contiguous and of one shape. No backward.
struct Add {
    ConstTensorView x;
    TensorView y;
};

/// sum = Σ x², in double precision and in an order that depends on the size alone. No backward.
struct NormSq {
    ConstTensorView x;  // [n] f32 or f64, contiguous
    TensorView sum;     // [1] f64
};

void check(const Cast& op);
void check(const Fill& op);
void check(const Add& op);
void check(const NormSq& op);
void cast(Context& context, const Cast& op);
void fill(Context& context, const Fill& op);
void add(Context& context, const Add& op);
void norm_sq(Context& context, const NormSq& op);

}  // namespace mambase::ops
