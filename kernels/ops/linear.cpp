#include "kernels/ops/linear.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

using detail::Layout;

void check(const Linear& op) {
    constexpr const char* op_name = "linear";
    detail::require_rank(op_name, "x", op.x, 3);
    detail::require_rank(op_name, "weight", op.weight, 2);
    const std::int64_t batch = op.x.extent(0);
    const std::int64_t length = op.x.extent(1);
    const std::int64_t inputs = op.x.extent(2);
    const std::int64_t outputs = op.weight.extent(0);
    const DType type = detail::require_activation_type(op_name, "x", op.x);
    detail::require_tensor(op_name, "x", op.x, type, {batch, length, inputs}, Layout::rows);
    detail::require_tensor(op_name, "weight", op.weight, DType::f32, {outputs, inputs});
    detail::optional_tensor(op_name, "bias", op.bias, DType::f32, {outputs});
    detail::require_tensor(op_name, "y", op.y, op.y.dtype() == DType::f32 ? DType::f32 : type,
                           {batch, length, outputs}, Layout::rows);
}

void check(const LinearGrad& op) {
    constexpr const char* op_name = "linear backward";
    detail::require_rank(op_name, "x", op.x, 3);
    detail::require_rank(op_name, "weight", op.weight, 2);
    const std::int64_t batch = op.x.extent(0);
    const std::int64_t length = op.x.extent(1);
    const std::int64_t inputs = op.x.extent(2);
    const std::int64_t outputs = op.weight.extent(0);
    const DType type = detail::require_activation_type(op_name, "x", op.x);
    detail::require_tensor(op_name, "x", op.x, type, {batch, length, inputs}, Layout::rows);
    detail::require_tensor(op_name, "weight", op.weight, DType::f32, {outputs, inputs});
    detail::require_tensor(op_name, "dy", op.dy, type, {batch, length, outputs}, Layout::rows);
    detail::optional_tensor(op_name, "dx", op.dx, type, {batch, length, inputs}, Layout::rows);
    detail::require_tensor(op_name, "dweight", op.dweight, DType::f64, {outputs, inputs});
    detail::optional_tensor(op_name, "dbias", op.dbias, DType::f64, {outputs});
}

void linear_forward(Context& context, const Linear& op) {
    detail::dispatch("linear", context.table.linear_forward, context, op);
}

void linear_backward(Context& context, const LinearGrad& op) {
    detail::dispatch("linear backward", context.table.linear_backward, context, op);
}

}  // namespace mambase::ops
