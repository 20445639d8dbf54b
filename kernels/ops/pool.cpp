#include "kernels/ops/pool.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

using detail::Layout;

void check(const Pool& op) {
    constexpr const char* op_name = "pool";
    detail::require_rank(op_name, "x", op.x, 3);
    detail::require_rank(op_name, "sum", op.sum, 3);
    const std::int64_t batch = op.x.extent(0);
    const std::int64_t length = op.x.extent(1);
    const std::int64_t groups = op.sum.extent(1);
    const std::int64_t width = op.x.extent(2);
    detail::require_tensor(op_name, "x", op.x, detail::require_activation_type(op_name, "x", op.x),
                           {batch, length, width}, Layout::rows);
    detail::require_tensor(op_name, "group", op.group, DType::i32, {batch, length}, Layout::rows);
    detail::require_tensor(op_name, "sum", op.sum, DType::f64, {batch, groups, width},
                           Layout::rows);
    detail::require_tensor(op_name, "count", op.count, DType::i64, {batch, groups}, Layout::rows);
}

void check(const PoolValues& op) {
    constexpr const char* op_name = "pool values";
    detail::require_rank(op_name, "sum", op.sum, 3);
    const Shape shape = op.sum.shape();
    detail::require_tensor(op_name, "sum", op.sum, DType::f64, shape, Layout::rows);
    detail::require_tensor(op_name, "count", op.count, DType::i64, {shape[0], shape[1]},
                           Layout::rows);
    detail::require_tensor(op_name, "y", op.y, DType::f32, shape, Layout::rows);
}

void check(const PoolGrad& op) {
    constexpr const char* op_name = "pool backward";
    detail::require_rank(op_name, "x", op.x, 3);
    detail::require_rank(op_name, "sum", op.sum, 3);
    const std::int64_t batch = op.x.extent(0);
    const std::int64_t length = op.x.extent(1);
    const std::int64_t groups = op.sum.extent(1);
    const std::int64_t width = op.x.extent(2);
    detail::require_tensor(op_name, "x", op.x, detail::require_activation_type(op_name, "x", op.x),
                           {batch, length, width}, Layout::rows);
    detail::require_tensor(op_name, "group", op.group, DType::i32, {batch, length}, Layout::rows);
    detail::require_tensor(op_name, "sum", op.sum, DType::f64, {batch, groups, width},
                           Layout::rows);
    detail::require_tensor(op_name, "count", op.count, DType::i64, {batch, groups}, Layout::rows);
    detail::require_tensor(op_name, "dy", op.dy, DType::f32, {batch, groups, width}, Layout::rows);
    detail::require_tensor(op_name, "dx", op.dx, op.x.dtype(), {batch, length, width},
                           Layout::rows);
    detail::require_tensor(op_name, "pending", op.pending, DType::i64, {batch, groups},
                           Layout::rows);
}

void pool_forward(Context& context, const Pool& op) {
    detail::dispatch("pool", context.table.pool_forward, context, op);
}

void pool_values(Context& context, const PoolValues& op) {
    detail::dispatch("pool values", context.table.pool_values, context, op);
}

void pool_backward(Context& context, const PoolGrad& op) {
    detail::dispatch("pool backward", context.table.pool_backward, context, op);
}

}  // namespace mambase::ops
