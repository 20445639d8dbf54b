#include "kernels/cpu/naive_scan.hpp"

#include "base/checked_math.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace mambase::cpu {

namespace {

constexpr std::int64_t kChannels = 64;  // of a task of the recurrence

/// body(lane, position) for each of B·T rows.
template <class Body>
void for_each_row(ops::Context& context, const ops::SelectiveScan& op, const Body& body) {
    const std::int64_t length = op.x.extent(1);
    context.pool.parallel_for(op.x.extent(0) * length,
                              [&](std::int64_t row) { body(row / length, row % length); });
}

}  // namespace

void naive_scan_forward(ops::Context& context, const ops::SelectiveScan& op) {
    const StepMemory::Scope scope(context.step);
    const std::int64_t batch = op.x.extent(0);
    const std::int64_t length = op.x.extent(1);
    const std::int64_t inner = op.x.extent(2);
    const std::int64_t state = op.a_log.extent(1);
    const auto x = op.x.as<const float, 3>();
    const auto dt_raw = op.dt_raw.as<const float, 3>();
    const auto z = op.z.as<const float, 3>();
    const auto b = op.b.as<const float, 3>();
    const auto c = op.c.as<const float, 3>();
    const auto a_log = op.a_log.as<const float, 2>();
    const auto d = op.d.as<const float, 1>();
    const auto dt_bias = op.dt_bias.as<const float, 1>();
    const auto state_in = op.state_in.as<const float, 3>();
    const auto state_out = op.state_out.as<float, 3>();
    const auto y = op.y.as<float, 3>();
    const auto take = [&](const Shape& shape) { return context.step.take(DType::f32, shape); };
    const auto rate = take({inner, state}).as<float, 2>();
    const auto delta = take({batch, length, inner}).as<float, 3>();
    const auto decay = take({batch, length, inner, state}).as<float, 4>();
    const auto states = take({batch, length, inner, state}).as<float, 4>();

    for_each_row(context, op, [&](std::int64_t lane, std::int64_t t) {
        for (std::int64_t e = 0; e < inner; ++e) {
            const float r = dt_raw(lane, t, e) + dt_bias(e);
            delta(lane, t, e) = r > 20.0F ? r : std::log1p(std::exp(r));
        }
    });
    for (std::int64_t e = 0; e < inner; ++e) {
        for (std::int64_t n = 0; n < state; ++n) {
            rate(e, n) = -std::exp(a_log(e, n));
        }
    }
    for_each_row(context, op, [&](std::int64_t lane, std::int64_t t) {
        for (std::int64_t e = 0; e < inner; ++e) {
            for (std::int64_t n = 0; n < state; ++n) {
                decay(lane, t, e, n) = std::exp(delta(lane, t, e) * rate(e, n));
            }
        }
    });
    for_each_row(context, op, [&](std::int64_t lane, std::int64_t t) {
        for (std::int64_t e = 0; e < inner; ++e) {
            for (std::int64_t n = 0; n < state; ++n) {
                states(lane, t, e, n) = delta(lane, t, e) * b(lane, t, n) * x(lane, t, e);
            }
        }
    });
    const std::int64_t blocks = ceil_div(inner, kChannels);
    context.pool.parallel_for(batch * blocks, [&](std::int64_t task) {
        const std::int64_t lane = task / blocks;
        const std::int64_t first = task % blocks * kChannels;
        const std::int64_t count = std::min(kChannels, inner - first) * state;
        float* const h = &state_out(lane, first);
        std::copy_n(&state_in(lane, first), count, h);
        for (std::int64_t t = 0; t < length; ++t) {
            const float* const a = &decay(lane, t, first);
            float* const to = &states(lane, t, first);
            for (std::int64_t i = 0; i < count; ++i) {
                h[i] = a[i] * h[i] + to[i];
                to[i] = h[i];
            }
        }
    });
    for_each_row(context, op, [&](std::int64_t lane, std::int64_t t) {
        for (std::int64_t e = 0; e < inner; ++e) {
            float sum = d(e) * x(lane, t, e);
            for (std::int64_t n = 0; n < state; ++n) {
                sum += c(lane, t, n) * states(lane, t, e, n);
            }
            const float gate = z(lane, t, e);
            y(lane, t, e) = sum * gate / (1.0F + std::exp(-gate));
        }
    });
}

}  // namespace mambase::cpu
