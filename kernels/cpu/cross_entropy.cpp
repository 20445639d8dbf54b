#include "kernels/ops/cross_entropy.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"
#include "kernels/cpu/simd/row_kernels.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace mambase::cpu {

namespace {

constexpr std::int64_t kRowBlock = 256;

/// Which ids a target with weight may have.
using Allowed = std::array<bool, 256>;

Allowed allowed_ids(const View<const std::uint8_t, 1>& support, std::int64_t vocabulary) {
    Allowed allowed{};
    if (!support) {
        std::fill_n(allowed.begin(), vocabulary, true);
        return allowed;
    }
    for (std::int64_t i = 0; i < support.extent[0]; ++i) {
        MAMBASE_REQUIRE(support(i) < vocabulary, ErrorCode::shape,
                        concat("cross_entropy: support has the id ", support(i),
                               ", the vocabulary has ", vocabulary));
        allowed[support(i)] = true;
    }
    return allowed;
}

/// Targets reach into memory: one that is not allowed stops here.
void require_targets(const Allowed& allowed,
                     const std::uint8_t* targets,
                     const float* weight,
                     std::int64_t rows,
                     std::int64_t first) {
    for (std::int64_t row = 0; row < rows; ++row) {
        if (!allowed[targets[row]] && (weight == nullptr || weight[row] != 0.0F)) {
            throw Error(ErrorCode::shape,
                        concat("cross_entropy: target ", targets[row], " at position ", first + row,
                               " is not among the classes"));
        }
    }
}

}  // namespace

template <SimdLevel L>
void cross_entropy_forward(ops::Context& context, const ops::CrossEntropy& op) {
    const StepMemory::Scope scope(context.step);
    const auto logits = op.logits.as<const float, 3>();
    const auto targets = op.targets.as<const std::uint8_t, 2>();
    const auto weight = op.weight.as<const float, 2>();
    const auto support = op.support.as<const std::uint8_t, 1>();
    const auto best = op.best.as<std::uint8_t, 2>();
    const auto loss_sum = op.loss_sum.as<double, 1>();
    const std::int64_t lanes = logits.extent[0];
    const std::int64_t length = logits.extent[1];
    const auto loss = (op.loss ? op.loss : context.step.take(DType::f64, {lanes, length}))
                          .template as<double, 2>();
    const Allowed allowed = allowed_ids(support, logits.extent[2]);
    const std::int64_t blocks = ceil_div(length, kRowBlock);
    context.pool.parallel_for(lanes * blocks, [&](std::int64_t task) {
        const std::int64_t lane = task / blocks;
        const std::int64_t row = task % blocks * kRowBlock;
        CrossEntropyRows rows{};
        rows.rows = std::min(kRowBlock, length - row);
        rows.vocabulary = logits.extent[2];
        rows.logits = {&logits(lane, row), logits.stride[1]};
        rows.targets = &targets(lane, row);
        rows.weight = weight ? &weight(lane, row) : nullptr;
        rows.support = support.data;
        rows.support_size = support.extent[0];
        rows.loss = &loss(lane, row);
        rows.best = best ? &best(lane, row) : nullptr;
        require_targets(allowed, rows.targets, rows.weight, rows.rows, row);
        row_kernels<L>().cross_entropy(rows);
    });
    if (!loss_sum) {
        return;
    }
    context.pool.parallel_for(lanes, [&](std::int64_t lane) {
        double sum = loss_sum(lane);
        for (std::int64_t row = 0; row < length; ++row) {
            sum +=
                weight ? static_cast<double>(weight(lane, row)) * loss(lane, row) : loss(lane, row);
        }
        loss_sum(lane) = sum;
    });
}

template <SimdLevel L>
void cross_entropy_backward(ops::Context& context, const ops::CrossEntropyGrad& op) {
    const auto logits = op.logits.as<const float, 3>();
    const auto targets = op.targets.as<const std::uint8_t, 2>();
    const auto weight = op.weight.as<const float, 2>();
    const auto dlogits = op.dlogits.as<float, 3>();
    const auto scale_there = op.scale_there.as<const double, 1>();
    const double scale = scale_there ? op.scale * scale_there(0) : op.scale;
    const std::int64_t length = logits.extent[1];
    const Allowed allowed = allowed_ids({}, logits.extent[2]);
    const std::int64_t blocks = ceil_div(length, kRowBlock);
    context.pool.parallel_for(logits.extent[0] * blocks, [&](std::int64_t task) {
        const std::int64_t lane = task / blocks;
        const std::int64_t row = task % blocks * kRowBlock;
        CrossEntropyGradRows rows{};
        rows.rows = std::min(kRowBlock, length - row);
        rows.vocabulary = logits.extent[2];
        rows.logits = {&logits(lane, row), logits.stride[1]};
        rows.targets = &targets(lane, row);
        rows.weight = weight ? &weight(lane, row) : nullptr;
        rows.scale = scale;
        rows.dlogits = {&dlogits(lane, row), dlogits.stride[1]};
        require_targets(allowed, rows.targets, rows.weight, rows.rows, row);
        row_kernels<L>().cross_entropy_grad(rows);
    });
}

template void cross_entropy_forward<SimdLevel::scalar>(ops::Context&, const ops::CrossEntropy&);
template void cross_entropy_forward<SimdLevel::avx2>(ops::Context&, const ops::CrossEntropy&);
template void cross_entropy_forward<SimdLevel::avx512>(ops::Context&, const ops::CrossEntropy&);
template void cross_entropy_backward<SimdLevel::scalar>(ops::Context&,
                                                        const ops::CrossEntropyGrad&);
template void cross_entropy_backward<SimdLevel::avx2>(ops::Context&, const ops::CrossEntropyGrad&);
template void cross_entropy_backward<SimdLevel::avx512>(ops::Context&,
                                                        const ops::CrossEntropyGrad&);

}  // namespace mambase::cpu
