#include "kernels/ops/embedding.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

using detail::Layout;

void check(const Embedding& op) {
    constexpr const char* op_name = "embedding";
    detail::require_rank(op_name, "ids", op.ids, 2);
    detail::require_rank(op_name, "table", op.table, 2);
    const std::int64_t batch = op.ids.extent(0);
    const std::int64_t length = op.ids.extent(1);
    const std::int64_t width = op.table.extent(1);
    detail::require_tensor(op_name, "ids", op.ids, DType::u8, {batch, length}, Layout::rows);
    detail::require_tensor(op_name, "table", op.table,
                           op.table.dtype() == DType::f32 ? DType::f32 : op.y.dtype(),
                           op.table.shape());
    detail::require_tensor(op_name, "y", op.y, detail::require_activation_type(op_name, "y", op.y),
                           {batch, length, width}, Layout::rows);
}

void check(const EmbeddingGrad& op) {
    constexpr const char* op_name = "embedding backward";
    detail::require_rank(op_name, "ids", op.ids, 2);
    detail::require_rank(op_name, "dtable", op.dtable, 2);
    const std::int64_t batch = op.ids.extent(0);
    const std::int64_t length = op.ids.extent(1);
    const std::int64_t width = op.dtable.extent(1);
    detail::require_tensor(op_name, "ids", op.ids, DType::u8, {batch, length}, Layout::rows);
    detail::require_tensor(op_name, "dy", op.dy,
                           detail::require_activation_type(op_name, "dy", op.dy),
                           {batch, length, width}, Layout::rows);
    detail::require_tensor(op_name, "dtable", op.dtable, DType::f64, op.dtable.shape());
}

void embedding_forward(Context& context, const Embedding& op) {
    detail::dispatch("embedding", context.table.embedding_forward, context, op);
}

void embedding_backward(Context& context, const EmbeddingGrad& op) {
    detail::dispatch("embedding backward", context.table.embedding_backward, context, op);
}

}  // namespace mambase::ops
