#include "kernels/ops/elementwise.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

void check(const Cast& op) {
    constexpr const char* op_name = "cast";
    detail::require_rank(op_name, "x", op.x, op.x.shape().rank());
    detail::require_tensor(op_name, "x", op.x, op.x.dtype(), op.x.shape());
    const DType from = op.x.dtype();
    const DType to = op.y.dtype();
    detail::require_tensor(op_name, "y", op.y, to, op.x.shape());
    const auto between = [from, to](DType a, DType b) {
        return (from == a && to == b) || (from == b && to == a);
    };
    MAMBASE_REQUIRE(between(DType::f32, DType::bf16) || between(DType::f32, DType::f64),
                    ErrorCode::unsupported,
                    concat("cast: from ", name(from), " to ", name(to), " is not available"));
}

void check(const Fill& op) {
    constexpr const char* op_name = "fill";
    detail::require_rank(op_name, "y", op.y, op.y.shape().rank());
    detail::require_tensor(op_name, "y", op.y, op.y.dtype(), op.y.shape());
    MAMBASE_REQUIRE(op.y.dtype() != DType::bf16, ErrorCode::unsupported,
                    "fill: bf16 is not available");
}

void check(const Add& op) {
    constexpr const char* op_name = "add";
    detail::require_rank(op_name, "x", op.x, op.x.shape().rank());
    detail::require_tensor(op_name, "x", op.x, DType::f64, op.x.shape());
    detail::require_tensor(op_name, "y", op.y, DType::f64, op.x.shape());
}

void check(const NormSq& op) {
    constexpr const char* op_name = "norm_sq";
    detail::require_rank(op_name, "x", op.x, 1);
    detail::require_tensor(op_name, "x", op.x, op.x.dtype(), op.x.shape());
    MAMBASE_REQUIRE(op.x.dtype() == DType::f32 || op.x.dtype() == DType::f64, ErrorCode::shape,
                    concat("norm_sq: x is of ", name(op.x.dtype()), ", expected f32 or f64"));
    detail::require_tensor(op_name, "sum", op.sum, DType::f64, {1});
}

void cast(Context& context, const Cast& op) {
    detail::dispatch("cast", context.table.cast, context, op);
}

void fill(Context& context, const Fill& op) {
    detail::dispatch("fill", context.table.fill, context, op);
}

void add(Context& context, const Add& op) {
    detail::dispatch("add", context.table.add, context, op);
}

void norm_sq(Context& context, const NormSq& op) {
    detail::dispatch("norm_sq", context.table.norm_sq, context, op);
}

}  // namespace mambase::ops
