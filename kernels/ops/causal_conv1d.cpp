#include "kernels/ops/causal_conv1d.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

using detail::Layout;

namespace {

constexpr const char* kForward = "causal_conv1d";
constexpr const char* kBackward = "causal_conv1d backward";

/// What forward and backward have in common; gives the shape of the state.
template <class Op>
Shape check_inputs(const char* op_name, const Op& op) {
    detail::require_rank(op_name, "x", op.x, 3);
    detail::require_rank(op_name, "weight", op.weight, 2);
    const Shape rows = op.x.shape();
    const std::int64_t taps = op.weight.extent(1);
    MAMBASE_REQUIRE(taps >= 2 && taps <= 4, ErrorCode::shape,
                    concat(op_name, ": weight is ", op.weight.shape().text(),
                           ", expected 2 to 4 taps in the last dimension"));
    const Shape state = {rows[0], taps - 1, rows[2]};
    detail::require_tensor(op_name, "x", op.x, detail::require_activation_type(op_name, "x", op.x),
                           rows, Layout::rows);
    detail::require_tensor(op_name, "weight", op.weight, DType::f32, {rows[2], taps});
    detail::optional_tensor(op_name, "bias", op.bias, DType::f32, {rows[2]});
    detail::optional_tensor(op_name, "segment", op.segment, DType::i32, {rows[0], rows[1]},
                            Layout::rows);
    detail::optional_tensor(op_name, "valid", op.valid, DType::i64, {rows[0]});
    detail::optional_tensor(op_name, "state_in", op.state_in, DType::f32, state);
    return state;
}

}  // namespace

void check(const CausalConv1d& op) {
    const Shape state = check_inputs(kForward, op);
    detail::require_tensor(kForward, "y", op.y, op.x.dtype(), op.x.shape(), Layout::rows);
    detail::optional_tensor(kForward, "state_out", op.state_out, DType::f32, state);
}

void check(const CausalConv1dGrad& op) {
    const Shape state = check_inputs(kBackward, op);
    const Shape rows = op.x.shape();
    detail::require_tensor(kBackward, "dy", op.dy, op.x.dtype(), rows, Layout::rows);
    detail::optional_tensor(kBackward, "dstate_out", op.dstate_out, DType::f32, state);
    detail::require_tensor(kBackward, "dx", op.dx, op.x.dtype(), rows, Layout::rows);
    detail::require_tensor(kBackward, "dweight", op.dweight, DType::f64, op.weight.shape());
    MAMBASE_REQUIRE(static_cast<bool>(op.bias) == static_cast<bool>(op.dbias), ErrorCode::shape,
                    concat(kBackward, ": dbias is ", op.dbias ? "given without bias" : "missing"));
    detail::optional_tensor(kBackward, "dbias", op.dbias, DType::f64, {rows[2]});
    detail::optional_tensor(kBackward, "dstate_in", op.dstate_in, DType::f32, state);
}

void causal_conv1d_forward(Context& context, const CausalConv1d& op) {
    detail::dispatch(kForward, context.table.causal_conv1d_forward, context, op);
}

void causal_conv1d_backward(Context& context, const CausalConv1dGrad& op) {
    detail::dispatch(kBackward, context.table.causal_conv1d_backward, context, op);
}

}  // namespace mambase::ops
