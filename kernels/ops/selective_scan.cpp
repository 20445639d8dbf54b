#include "kernels/ops/selective_scan.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

using detail::Layout;

namespace {

constexpr const char* kForward = "selective_scan";
constexpr const char* kBackward = "selective_scan backward";

/// What forward and backward have in common; gives [B,T,E,N].
template <class Op>
Shape check_inputs(const char* op_name, const Op& op) {
    detail::require_rank(op_name, "x", op.x, 3);
    detail::require_rank(op_name, "a_log", op.a_log, 2);
    const Shape rows = op.x.shape();
    const std::int64_t batch = rows[0];
    const std::int64_t length = rows[1];
    const std::int64_t inner = rows[2];
    const std::int64_t state = op.a_log.extent(1);
    const Shape projected = {batch, length, state};
    const DType type = detail::require_activation_type(op_name, "x", op.x);
    detail::require_tensor(op_name, "x", op.x, type, rows, Layout::rows);
    detail::require_tensor(op_name, "dt_raw", op.dt_raw, type, rows, Layout::rows);
    detail::optional_tensor(op_name, "z", op.z, type, rows, Layout::rows);
    detail::require_tensor(op_name, "a_log", op.a_log, DType::f32, {inner, state});
    detail::require_tensor(op_name, "b", op.b, type, projected, Layout::rows);
    detail::require_tensor(op_name, "c", op.c, type, projected, Layout::rows);
    detail::require_tensor(op_name, "d", op.d, DType::f32, {inner});
    detail::require_tensor(op_name, "dt_bias", op.dt_bias, DType::f32, {inner});
    detail::optional_tensor(op_name, "segment", op.segment, DType::i32, {batch, length},
                            Layout::rows);
    detail::optional_tensor(op_name, "valid", op.valid, DType::i64, {batch});
    detail::optional_tensor(op_name, "state_in", op.state_in, DType::f32, {batch, inner, state});
    return {batch, length, inner, state};
}

}  // namespace

void check(const SelectiveScan& op) {
    const Shape extents = check_inputs(kForward, op);
    const Shape state = {extents[0], extents[2], extents[3]};
    detail::require_tensor(kForward, "y", op.y, op.x.dtype(), op.x.shape(), Layout::rows);
    detail::optional_tensor(kForward, "state_out", op.state_out, DType::f32, state);
}

void check(const SelectiveScanGrad& op) {
    const Shape extents = check_inputs(kBackward, op);
    const DType type = op.x.dtype();
    const Shape rows = op.x.shape();
    const Shape projected = op.b.shape();
    const Shape inner = {extents[2]};
    const Shape state = {extents[0], extents[2], extents[3]};
    detail::require_tensor(kBackward, "dy", op.dy, type, rows, Layout::rows);
    detail::optional_tensor(kBackward, "dstate_out", op.dstate_out, DType::f32, state);
    detail::require_tensor(kBackward, "dx", op.dx, type, rows, Layout::rows);
    detail::require_tensor(kBackward, "ddt_raw", op.ddt_raw, type, rows, Layout::rows);
    MAMBASE_REQUIRE(static_cast<bool>(op.z) == static_cast<bool>(op.dz), ErrorCode::shape,
                    concat(kBackward, ": dz is ", op.dz ? "given without z" : "missing"));
    detail::optional_tensor(kBackward, "dz", op.dz, type, rows, Layout::rows);
    detail::require_tensor(kBackward, "da_log", op.da_log, DType::f64, op.a_log.shape());
    detail::require_tensor(kBackward, "db", op.db, type, projected, Layout::rows);
    detail::require_tensor(kBackward, "dc", op.dc, type, projected, Layout::rows);
    detail::require_tensor(kBackward, "dd", op.dd, DType::f64, inner);
    detail::require_tensor(kBackward, "ddt_bias", op.ddt_bias, DType::f64, inner);
    detail::optional_tensor(kBackward, "dstate_in", op.dstate_in, DType::f32, state);
}

namespace {

/// Their size is the backend's business, so it takes the context's table to check them.
void check_saved(const Context& context,
                 const char* op_name,
                 const ConstTensorView& x,
                 const ConstTensorView& a_log,
                 const ConstTensorView& saved) {
    detail::require_tensor(op_name, "saved", saved, DType::u8,
                           {selective_scan_saved_bytes(context.table, x.extent(0), x.extent(1),
                                                       x.extent(2), a_log.extent(1))});
}

}  // namespace

std::int64_t selective_scan_saved_bytes(const OpTable& table,
                                        std::int64_t batch,
                                        std::int64_t length,
                                        std::int64_t inner,
                                        std::int64_t state) {
    MAMBASE_REQUIRE(table.selective_scan_saved_bytes != nullptr, ErrorCode::unsupported,
                    concat("selective_scan backward is not available on the backend ", table.name));
    return table.selective_scan_saved_bytes(batch, length, inner, state);
}

std::int64_t selective_scan_starts_bytes(const OpTable& table,
                                         std::int64_t batch,
                                         std::int64_t length,
                                         std::int64_t inner,
                                         std::int64_t state) {
    return table.selective_scan_starts_bytes != nullptr
               ? table.selective_scan_starts_bytes(batch, length, inner, state)
               : 0;
}

void selective_scan_forward(Context& context, const SelectiveScan& op) {
    if (op.saved) {
        check(op);
        check_saved(context, kForward, op.x, op.a_log, op.saved);
    }
    if (op.starts) {
        check(op);
        detail::require_tensor(
            kForward, "starts", op.starts, DType::u8,
            {selective_scan_starts_bytes(context.table, op.x.extent(0), op.x.extent(1),
                                         op.x.extent(2), op.a_log.extent(1))});
        MAMBASE_REQUIRE(op.for_training && !(op.has_starts && op.state_out), ErrorCode::shape,
                        concat(kForward,
                               ": starts are of training, and where they are there "
                               "already no state_out is given"));
    }
    detail::dispatch(kForward, context.table.selective_scan_forward, context, op);
}

void selective_scan_backward(Context& context, const SelectiveScanGrad& op) {
    check(op);
    check_saved(context, kBackward, op.x, op.a_log, op.saved);
    detail::dispatch(kBackward, context.table.selective_scan_backward, context, op);
}

}  // namespace mambase::ops
