#include "kernels/ops/adamw.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace mambase::cpu {

namespace {

constexpr std::int64_t kBlock = 4096;  // elements of a task

void update(ops::Context& context, const ops::AdamW& op, const ops::AdamW::Part& part) {
    auto* const param = static_cast<float*>(part.param.data());
    auto* const first_moment = static_cast<float*>(part.m.data());
    auto* const second_moment = static_cast<float*>(part.v.data());
    const auto* const grad = static_cast<const double*>(part.grad.data());
    const auto step = static_cast<double>(op.step);
    const double correction1 = 1.0 - std::pow(op.beta1, step);
    const double correction2 = 1.0 - std::pow(op.beta2, step);
    const std::int64_t count = part.param.count();
    context.pool.parallel_for(ceil_div(count, kBlock), [&](std::int64_t task) {
        for (std::int64_t i = task * kBlock; i < std::min((task + 1) * kBlock, count); ++i) {
            const double g = grad[i] * op.grad_scale;
            const double m = op.beta1 * static_cast<double>(first_moment[i]) + (1.0 - op.beta1) * g;
            const double v =
                op.beta2 * static_cast<double>(second_moment[i]) + (1.0 - op.beta2) * g * g;
            first_moment[i] = static_cast<float>(m);
            second_moment[i] = static_cast<float>(v);
            const auto p = static_cast<double>(param[i]);
            const double change = m / correction1 / (std::sqrt(v / correction2) + op.eps);
            param[i] = static_cast<float>(p - op.lr * (change + part.weight_decay * p));
        }
    });
}

}  // namespace

void adamw(ops::Context& context, const ops::AdamW& op) {
    for (const ops::AdamW::Part& part : op.parts) {
        update(context, op, part);
    }
}

}  // namespace mambase::cpu
