#include "kernels/ops/adamw.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

void check(const AdamW& op) {
    constexpr const char* op_name = "adamw";
    detail::require_rank(op_name, "param", op.param, 1);
    const Shape shape = op.param.shape();
    detail::require_tensor(op_name, "param", op.param, DType::f32, shape);
    detail::require_tensor(op_name, "m", op.m, DType::f32, shape);
    detail::require_tensor(op_name, "v", op.v, DType::f32, shape);
    detail::require_tensor(op_name, "grad", op.grad, DType::f64, shape);
    MAMBASE_REQUIRE(op.step >= 1, ErrorCode::usage,
                    concat("adamw: step is ", op.step, ", expected 1 or more"));
}

void adamw(Context& context, const AdamW& op) {
    detail::dispatch("adamw", context.table.adamw, context, op);
}

}  // namespace mambase::ops
