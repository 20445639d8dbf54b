#include "kernels/ops/elementwise.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>

namespace mambase::cpu {

namespace {

constexpr std::int64_t kBlock = 16384;  // elements of a task

/// Calls body(first, end) for each block of [0, count), in parallel.
template <class Body>
void for_each_block(ops::Context& context, std::int64_t count, const Body& body) {
    context.pool.parallel_for(ceil_div(count, kBlock), [&](std::int64_t task) {
        body(task * kBlock, std::min((task + 1) * kBlock, count));
    });
}

template <class From, class To, class Convert>
void cast_as(ops::Context& context, const ops::Cast& op, const Convert& convert) {
    const auto* const from = static_cast<const From*>(op.x.data());
    auto* const to = static_cast<To*>(op.y.data());
    for_each_block(context, op.x.count(), [&](std::int64_t first, std::int64_t end) {
        std::transform(from + first, from + end, to + first, convert);
    });
}

/// Round to nearest even; a NaN stays one, made quiet.
std::uint16_t to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U) {
        return static_cast<std::uint16_t>(bits >> 16U | 0x40U);
    }
    return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16U & 1U)) >> 16U);
}

float from_bf16(std::uint16_t value) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16U);
}

template <class T>
void fill_as(ops::Context& context, const ops::Fill& op) {
    auto* const to = static_cast<T*>(op.y.data());
    const auto value = static_cast<T>(op.value);
    for_each_block(context, op.y.count(), [&](std::int64_t first, std::int64_t end) {
        std::fill(to + first, to + end, value);
    });
}

/// Σ x² over [first, end), in four sums that are added at the end: one chain of additions would
/// wait for its own latency.
template <class T>
double block_norm_sq(const T* x, std::int64_t first, std::int64_t end) {
    double sums[4] = {};
    for (std::int64_t i = first; i < end; ++i) {
        const auto value = static_cast<double>(x[i]);
        sums[(i - first) % 4] += value * value;
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

void cast(ops::Context& context, const ops::Cast& op) {
    if (op.y.dtype() == DType::bf16) {
        cast_as<float, std::uint16_t>(context, op, to_bf16);
    } else if (op.x.dtype() == DType::bf16) {
        cast_as<std::uint16_t, float>(context, op, from_bf16);
    } else if (op.x.dtype() == DType::f32) {
        cast_as<float, double>(context, op, [](float x) { return static_cast<double>(x); });
    } else {
        cast_as<double, float>(context, op, [](double x) { return static_cast<float>(x); });
    }
}

void fill(ops::Context& context, const ops::Fill& op) {
    switch (op.y.dtype()) {
        case DType::f32:
            return fill_as<float>(context, op);
        case DType::f64:
            return fill_as<double>(context, op);
        case DType::i32:
            return fill_as<std::int32_t>(context, op);
        case DType::i64:
            return fill_as<std::int64_t>(context, op);
        case DType::u8:
            return fill_as<std::uint8_t>(context, op);
        case DType::bf16:
            break;  // ops::check() has refused it
    }
}

void add(ops::Context& context, const ops::Add& op) {
    const auto* const x = static_cast<const double*>(op.x.data());
    auto* const y = static_cast<double*>(op.y.data());
    for_each_block(context, op.x.count(), [&](std::int64_t first, std::int64_t end) {
        std::transform(x + first, x + end, y + first, y + first, std::plus<>());
    });
}

void norm_sq(ops::Context& context, const ops::NormSq& op) {
    const StepMemory::Scope scope(context.step);
    const std::int64_t count = op.x.count();
    const std::int64_t blocks = ceil_div(count, kBlock);
    const auto sums = context.step.take(DType::f64, {blocks}).as<double, 1>();
    for_each_block(context, count, [&](std::int64_t first, std::int64_t end) {
        sums(first / kBlock) =
            op.x.dtype() == DType::f32
                ? block_norm_sq(static_cast<const float*>(op.x.data()), first, end)
                : block_norm_sq(static_cast<const double*>(op.x.data()), first, end);
    });
    double total = 0.0;
    for (std::int64_t block = 0; block < blocks; ++block) {
        total += sums(block);
    }
    op.sum.as<double, 1>()(0) = total;
}

}  // namespace mambase::cpu
