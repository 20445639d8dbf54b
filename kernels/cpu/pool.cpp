#include "kernels/ops/pool.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::cpu {

namespace {

constexpr std::int64_t kColumns = 64;  // of one task
constexpr std::int64_t kRowBlock = 256;

using Groups = View<const std::int32_t, 2>;

/// Throws unless every id is −1 or below `groups`, and none falls along a lane.
void require_groups(const Groups& group, std::int64_t groups) {
    for (std::int64_t lane = 0; lane < group.extent[0]; ++lane) {
        std::int32_t last = 0;
        for (std::int64_t row = 0; row < group.extent[1]; ++row) {
            const std::int32_t id = group(lane, row);
            MAMBASE_REQUIRE(id == -1 || (id >= last && id < groups), ErrorCode::shape,
                            concat("pool: group ", id, " at position ", row, " of lane ", lane,
                                   ", expected -1 or ", last, " to ", groups - 1));
            last = std::max(last, id);
        }
    }
}

/// One row into its group. A NaN stays.
void add_row(ops::PoolMode mode, bool first, const float* x, double* sum, std::int64_t columns) {
    for (std::int64_t i = 0; i < columns; ++i) {
        const auto value = static_cast<double>(x[i]);
        switch (mode) {
            case ops::PoolMode::mean:
                sum[i] += value;
                break;
            case ops::PoolMode::max:
                sum[i] = first || value > sum[i] || value != value ? value : sum[i];
                break;
            case ops::PoolMode::last:
                sum[i] = value;
                break;
        }
    }
}

/// The gradient of one row of a group; `is_last`: no row of the group comes after it.
void add_row_grad(const ops::PoolGrad& op,
                  const View<float, 3>& dx,
                  std::int64_t lane,
                  std::int64_t row,
                  std::int64_t id,
                  bool is_last) {
    const float* const x = &op.x.as<const float, 3>()(lane, row);
    const double* const sum = &op.sum.as<const double, 3>()(lane, id);
    const float* const dy = &op.dy.as<const float, 3>()(lane, id);
    const auto count = static_cast<double>(op.count.as<const std::int64_t, 2>()(lane, id));
    float* const out = &dx(lane, row);
    for (std::int64_t i = 0; i < dx.extent[2]; ++i) {
        switch (op.mode) {
            case ops::PoolMode::mean:
                out[i] = static_cast<float>(static_cast<double>(dy[i]) / count);
                break;
            case ops::PoolMode::max:
                out[i] = static_cast<double>(x[i]) == sum[i] ? dy[i] : 0.0F;
                break;
            case ops::PoolMode::last:
                out[i] = is_last ? dy[i] : 0.0F;
                break;
        }
    }
}

}  // namespace

void pool_forward(ops::Context& context, const ops::Pool& op) {
    const auto x = op.x.as<const float, 3>();
    const auto group = op.group.as<const std::int32_t, 2>();
    const auto sum = op.sum.as<double, 3>();
    const auto count = op.count.as<std::int64_t, 2>();
    require_groups(group, sum.extent[1]);
    const std::int64_t parts = ceil_div(x.extent[2], kColumns);
    context.pool.parallel_for(x.extent[0] * parts, [&](std::int64_t task) {
        const std::int64_t lane = task / parts;
        const std::int64_t column = task % parts * kColumns;
        const std::int64_t columns = std::min(kColumns, x.extent[2] - column);
        std::int32_t last = -1;
        for (std::int64_t row = 0; row < x.extent[1]; ++row) {
            const std::int32_t id = group(lane, row);
            if (id >= 0) {
                const bool first = id != last && count(lane, id) == 0;
                add_row(op.mode, first, &x(lane, row, column), &sum(lane, id, column), columns);
                last = id;
            }
        }
    });
    for (std::int64_t lane = 0; lane < group.extent[0]; ++lane) {
        for (std::int64_t row = 0; row < group.extent[1]; ++row) {
            if (group(lane, row) >= 0) {
                ++count(lane, group(lane, row));
            }
        }
    }
}

void pool_values(ops::Context& /*context*/, const ops::PoolValues& op) {
    const auto sum = op.sum.as<const double, 3>();
    const auto count = op.count.as<const std::int64_t, 2>();
    const auto y = op.y.as<float, 3>();
    for (std::int64_t lane = 0; lane < sum.extent[0]; ++lane) {
        for (std::int64_t id = 0; id < sum.extent[1]; ++id) {
            const std::int64_t rows = count(lane, id);
            const double divisor = op.mode == ops::PoolMode::mean ? static_cast<double>(rows) : 1.0;
            for (std::int64_t i = 0; i < sum.extent[2]; ++i) {
                y(lane, id, i) = rows > 0 ? static_cast<float>(sum(lane, id, i) / divisor) : 0.0F;
            }
        }
    }
}

void pool_backward(ops::Context& context, const ops::PoolGrad& op) {
    const auto group = op.group.as<const std::int32_t, 2>();
    const auto dx = op.dx.as<float, 3>();
    const auto pending = op.pending.as<std::int64_t, 2>();
    require_groups(group, pending.extent[1]);
    const std::int64_t length = group.extent[1];
    const std::int64_t blocks = ceil_div(length, kRowBlock);
    context.pool.parallel_for(group.extent[0] * blocks, [&](std::int64_t task) {
        const std::int64_t lane = task / blocks;
        const std::int64_t first = task % blocks * kRowBlock;
        std::int64_t next = first + 1;  // the first row after this one that belongs to a group
        for (std::int64_t row = first; row < std::min(first + kRowBlock, length); ++row) {
            const std::int32_t id = group(lane, row);
            if (id < 0) {
                std::fill_n(&dx(lane, row), dx.extent[2], 0.0F);
                continue;
            }
            for (next = std::max(next, row + 1); next < length && group(lane, next) < 0;) {
                ++next;
            }
            const bool followed = next < length && group(lane, next) == id;
            add_row_grad(op, dx, lane, row, id, !followed && pending(lane, id) == 0);
        }
    });
    for (std::int64_t lane = 0; lane < group.extent[0]; ++lane) {
        for (std::int64_t row = 0; row < length; ++row) {
            if (group(lane, row) >= 0) {
                ++pending(lane, group(lane, row));
            }
        }
    }
}

}  // namespace mambase::cpu
