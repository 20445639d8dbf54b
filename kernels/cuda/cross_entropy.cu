#include "base/checked_math.hpp"
#include "kernels/cuda/cross_entropy.cuh"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/ops/cross_entropy.hpp"

namespace mambase::cuda {

namespace {

constexpr int kTokens = 16;  // the vocabulary of DNA, padded: rows of registers

bool is_fixed(const ConstTensorView& logits, const ConstTensorView& dlogits) {
    return logits.extent(2) == kTokens && takes_vectors(logits, 4) && takes_vectors(dlogits, 4);
}

template <class T>
void launch_backward(const ops::CrossEntropyGrad& op, cudaStream_t stream) {
    CrossEntropyGradParams<T> p{};
    p.logits = lane_rows<const float>(op.logits);
    p.targets = lane_rows<const std::uint8_t>(op.targets);
    p.weight = lane_rows<const float>(op.weight);
    p.dlogits = lane_rows<T>(op.dlogits);
    p.scale = op.scale;
    p.scale_there = static_cast<const double*>(op.scale_there.data());
    p.length = op.logits.extent(1);
    p.vocabulary = static_cast<int>(op.logits.extent(2));
    p.lane_blocks = grid_size(ceil_div(p.length, kLossThreads));
    const unsigned blocks = grid_size(op.logits.extent(0) * p.lane_blocks);
    if (is_fixed(op.logits, op.dlogits)) {
        cross_entropy_backward_kernel<T, kTokens><<<blocks, kLossThreads, 0, stream>>>(p);
    } else {
        cross_entropy_backward_kernel<T, 0><<<blocks, kLossThreads, 0, stream>>>(p);
    }
    check_launch("cross_entropy backward", stream);
}

}  // namespace

// loss_sum has the same bits for chunks of whole gradient tiles, not for others: one chain of
// additions over every position would take 5 ms at 2^20.
// 2^20 × 16: 0.07 GB, 0.03 ms at 3 TB/s; 17 M exponentials of some 25 f64 operations 0.05 ms;
// predicted 0.09, measured 0.06.
void cross_entropy_forward(ops::Context& context, const ops::CrossEntropy& op) {
    if (op.targets.count() == 0) {
        return;
    }
    static_assert(kGradientTile % kLossThreads == 0);
    const StepMemory::Scope scope(context.step);
    const cudaStream_t stream = stream_of(context);
    const std::int64_t lanes = op.logits.extent(0);
    CrossEntropyParams p{};
    p.logits = lane_rows<const float>(op.logits);
    p.targets = lane_rows<const std::uint8_t>(op.targets);
    p.weight = lane_rows<const float>(op.weight);
    p.support = static_cast<const std::uint8_t*>(op.support.data());
    p.support_size = op.support ? op.support.extent(0) : 0;
    p.loss = lane_rows<double>(op.loss);
    p.best = lane_rows<std::uint8_t>(op.best);
    p.length = op.logits.extent(1);
    p.vocabulary = static_cast<int>(op.logits.extent(2));
    p.lane_blocks = grid_size(ceil_div(p.length, kLossThreads));
    if (op.loss_sum) {
        p.sums = static_cast<double*>(
            context.step.take(DType::f64, {lanes, std::int64_t{p.lane_blocks}}).data());
    }
    const unsigned blocks = grid_size(lanes * p.lane_blocks);
    if (is_fixed(op.logits, {})) {
        cross_entropy_forward_kernel<kTokens><<<blocks, kLossThreads, 0, stream>>>(p);
    } else {
        cross_entropy_forward_kernel<0><<<blocks, kLossThreads, 0, stream>>>(p);
    }
    check_launch("cross_entropy", stream);
    if (op.loss_sum) {
        cross_entropy_sum_kernel<kGradientTile / kLossThreads>
            <<<grid_size(lanes), kLossThreads, 0, stream>>>(
                p.sums, static_cast<double*>(op.loss_sum.data()), p.lane_blocks);
        check_launch("cross_entropy", stream);
    }
}

// 2^20 × 16 to bf16: 0.1 GB, 0.035 ms; predicted 0.05, measured 0.04.
void cross_entropy_backward(ops::Context& context, const ops::CrossEntropyGrad& op) {
    if (op.targets.count() == 0) {
        return;
    }
    with_activation_type(op.dlogits.dtype(), [&](auto element) {
        launch_backward<decltype(element)>(op, stream_of(context));
    });
}

}  // namespace mambase::cuda
