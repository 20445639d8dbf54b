#include "kernels/ops/adamw.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

void check(const AdamW& op) {
    constexpr const char* op_name = "adamw";
    for (const AdamW::Part& part : op.parts) {
        detail::require_rank(op_name, "param", part.param, 1);
        const Shape shape = part.param.shape();
        detail::require_tensor(op_name, "param", part.param, DType::f32, shape);
        detail::require_tensor(op_name, "m", part.m, DType::f32, shape);
        detail::require_tensor(op_name, "v", part.v, DType::f32, shape);
        detail::require_tensor(op_name, "grad", part.grad, DType::f64, shape);
    }
    MAMBASE_REQUIRE(op.step >= 1, ErrorCode::usage,
                    concat("adamw: step is ", op.step, ", expected 1 or more"));
}

void adamw(Context& context, const AdamW& op) {
    detail::dispatch("adamw", context.table.adamw, context, op);
}

}  // namespace mambase::ops
