#include "kernels/ops/rms_norm.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

using detail::Layout;

void check(const RmsNorm& op) {
    constexpr const char* op_name = "rms_norm";
    detail::require_rank(op_name, "y", op.y, 3);
    const Shape shape = op.y.shape();
    detail::require_rank(op_name, "residual_in", op.residual_in, op.ids ? 2 : 3);
    detail::require_tensor(op_name, "residual_in", op.residual_in, DType::f32,
                           op.ids ? Shape{op.residual_in.extent(0), shape[2]} : shape,
                           Layout::rows);
    detail::optional_tensor(op_name, "ids", op.ids, DType::u8, {shape[0], shape[1]}, Layout::rows);
    detail::optional_tensor(op_name, "hidden", op.hidden,
                            detail::require_activation_type(op_name, "hidden", op.hidden), shape,
                            Layout::rows);
    detail::require_tensor(op_name, "weight", op.weight, DType::f32, {shape[2]});
    detail::optional_tensor(op_name, "residual_out", op.residual_out, DType::f32, shape,
                            Layout::rows);
    detail::require_tensor(op_name, "y", op.y, detail::require_activation_type(op_name, "y", op.y),
                           shape, Layout::rows);
    detail::optional_tensor(op_name, "rstd", op.rstd, DType::f32, {shape[0], shape[1]});
}

void check(const RmsNormGrad& op) {
    constexpr const char* op_name = "rms_norm backward";
    detail::require_rank(op_name, "residual_out", op.residual_out, 3);
    const Shape shape = op.residual_out.shape();
    detail::require_tensor(op_name, "residual_out", op.residual_out, DType::f32, shape,
                           Layout::rows);
    detail::require_tensor(op_name, "weight", op.weight, DType::f32, {shape[2]});
    detail::require_tensor(op_name, "rstd", op.rstd, DType::f32, {shape[0], shape[1]});
    detail::require_tensor(op_name, "dy", op.dy,
                           detail::require_activation_type(op_name, "dy", op.dy), shape,
                           Layout::rows);
    detail::optional_tensor(op_name, "dresidual_out", op.dresidual_out, DType::f32, shape,
                            Layout::rows);
    detail::require_tensor(op_name, "dx", op.dx, DType::f32, shape, Layout::rows);
    MAMBASE_REQUIRE(!op.dx_bf16 || op.dy.dtype() == DType::bf16, ErrorCode::shape,
                    concat(op_name, ": dx_bf16 is given, but dy is f32"));
    detail::optional_tensor(op_name, "dx_bf16", op.dx_bf16, DType::bf16, shape, Layout::rows);
    detail::require_tensor(op_name, "dweight", op.dweight, DType::f64, {shape[2]});
}

void rms_norm_forward(Context& context, const RmsNorm& op) {
    detail::dispatch("rms_norm", context.table.rms_norm_forward, context, op);
}

void rms_norm_backward(Context& context, const RmsNormGrad& op) {
    detail::dispatch("rms_norm backward", context.table.rms_norm_backward, context, op);
}

}  // namespace mambase::ops
