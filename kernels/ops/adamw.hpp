#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

#include <cstdint>
#include <vector>

namespace mambase::ops {

/// AdamW (Loshchilov and Hutter 2019, algorithm 2, decay times the rate):
///   g = grad·grad_scale,  m = β1·m + (1−β1)·g,  v = β2·v + (1−β2)·g²
///   param −= lr·( (m/(1−β1^step)) / (sqrt(v/(1−β2^step)) + eps) + weight_decay·param )
/// Computed in double precision, stored as f32. No backward.
struct AdamW {
    struct Part {
        TensorView param;      // [n] f32, contiguous as all of these
        TensorView m, v;       // [n] f32
        ConstTensorView grad;  // [n] f64
        double weight_decay = 0.0;
    };
    std::vector<Part> parts;  // all parameters of a model, each of its own n
    double grad_scale = 1.0;
    double lr = 0.0;
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;
    std::int64_t step = 1;  // counts from 1
};

void check(const AdamW& op);
void adamw(Context& context, const AdamW& op);

}  // namespace mambase::ops
