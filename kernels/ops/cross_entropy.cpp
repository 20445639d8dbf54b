#include "kernels/ops/cross_entropy.hpp"

#include "kernels/ops/check.hpp"

namespace mambase::ops {

using detail::Layout;

namespace {

// Targets and ids of the support are bytes.
constexpr std::int64_t kMaxVocabulary = 256;

void require_logits(const char* op, const ConstTensorView& logits) {
    detail::require_rank(op, "logits", logits, 3);
    detail::require_tensor(op, "logits", logits, DType::f32, logits.shape(), Layout::rows);
    MAMBASE_REQUIRE(logits.extent(2) >= 1 && logits.extent(2) <= kMaxVocabulary, ErrorCode::shape,
                    concat(op, ": logits has a vocabulary of ", logits.extent(2),
                           ", expected 1 to ", kMaxVocabulary));
}

}  // namespace

void check(const CrossEntropy& op) {
    constexpr const char* op_name = "cross_entropy";
    require_logits(op_name, op.logits);
    const std::int64_t batch = op.logits.extent(0);
    const std::int64_t length = op.logits.extent(1);
    detail::require_tensor(op_name, "targets", op.targets, DType::u8, {batch, length},
                           Layout::rows);
    detail::optional_tensor(op_name, "weight", op.weight, DType::f32, {batch, length},
                            Layout::rows);
    if (op.support) {
        detail::require_rank(op_name, "support", op.support, 1);
        detail::require_tensor(op_name, "support", op.support, DType::u8, op.support.shape());
        MAMBASE_REQUIRE(op.support.extent(0) >= 1 && op.support.extent(0) <= op.logits.extent(2),
                        ErrorCode::shape,
                        concat(op_name, ": support has ", op.support.extent(0),
                               " ids, expected 1 to ", op.logits.extent(2)));
    }
    detail::optional_tensor(op_name, "loss", op.loss, DType::f64, {batch, length}, Layout::rows);
    detail::optional_tensor(op_name, "best", op.best, DType::u8, {batch, length}, Layout::rows);
    detail::optional_tensor(op_name, "loss_sum", op.loss_sum, DType::f64, {batch});
}

void check(const CrossEntropyGrad& op) {
    constexpr const char* op_name = "cross_entropy backward";
    require_logits(op_name, op.logits);
    const std::int64_t batch = op.logits.extent(0);
    const std::int64_t length = op.logits.extent(1);
    detail::require_tensor(op_name, "targets", op.targets, DType::u8, {batch, length},
                           Layout::rows);
    detail::optional_tensor(op_name, "weight", op.weight, DType::f32, {batch, length},
                            Layout::rows);
    detail::optional_tensor(op_name, "scale_there", op.scale_there, DType::f64, {1});
    detail::require_tensor(op_name, "dlogits", op.dlogits,
                           detail::require_activation_type(op_name, "dlogits", op.dlogits),
                           op.logits.shape(), Layout::rows);
}

void cross_entropy_forward(Context& context, const CrossEntropy& op) {
    detail::dispatch("cross_entropy", context.table.cross_entropy_forward, context, op);
}

void cross_entropy_backward(Context& context, const CrossEntropyGrad& op) {
    detail::dispatch("cross_entropy backward", context.table.cross_entropy_backward, context, op);
}

}  // namespace mambase::ops
