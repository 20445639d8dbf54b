#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

#include <cstdint>

namespace mambase::ops {

enum class PoolMode : std::uint8_t { mean, max, last };

/// Rows of x are pooled into groups: group[b,t] is the group of a row within its lane, or −1 to
/// leave the row out; ids do not fall along t. The accumulators are state: they go on from what
/// they hold, so that a group may span chunks, and rows are taken position by position, so that
/// chunks do not change the result.
///   mean: sum += x, count += 1   max: sum = max(sum, x)   last: sum = x
struct Pool {
    ConstTensorView x;      // [B,T,D] f32 or bf16
    ConstTensorView group;  // [B,T]   i32
    PoolMode mode = PoolMode::mean;
    TensorView sum;    // [B,G,D] f64, accumulates as above
    TensorView count;  // [B,G]   i64, accumulates
};

/// What has been pooled: for mean sum/count, else sum; 0 of a group without rows.
struct PoolValues {
    PoolMode mode = PoolMode::mean;
    ConstTensorView sum;    // [B,G,D] f64
    ConstTensorView count;  // [B,G]   i64
    TensorView y;           // [B,G,D] f32
};

/// Of the pooled value. `sum` and `count` are the final ones. For max, the
/// gradient goes to every row that holds the maximum.
struct PoolGrad {
    ConstTensorView x;      // [B,T,D]
    ConstTensorView group;  // [B,T]
    PoolMode mode = PoolMode::mean;
    ConstTensorView sum;    // [B,G,D]
    ConstTensorView count;  // [B,G]
    ConstTensorView dy;     // [B,G,D] f32
    TensorView dx;          // [B,T,D] zero for rows left out
    TensorView pending;     // [B,G]   i64, in and out: rows of the group right of this chunk (for
                            // last); zeros at first
};

void check(const Pool& op);
void check(const PoolValues& op);
void check(const PoolGrad& op);
void pool_forward(Context& context, const Pool& op);
void pool_values(Context& context, const PoolValues& op);
void pool_backward(Context& context, const PoolGrad& op);

}  // namespace mambase::ops
