// Causal depthwise convolution and SiLU over rows of channels.
#pragma once

#include "kernels/cpu/simd/math.inl"
#include "kernels/cpu/simd/sequence_kernels.hpp"
#include "kernels/cpu/simd/sequence_rows.inl"

namespace mambase::cpu {
namespace {

/// The rows that the taps of row t meet, oldest first; zeros where a border lies between. Returns
/// how many rows before t are seen.
template <int W>
[[gnu::always_inline]] inline int find_taps(const ConvInput& in,
                                            std::int64_t t,
                                            const float* (&tap)[W]) {
    int reach = 0;
    tap[W - 1] = in.x + t * in.x_stride;
    for (int back = 1; back < W; ++back) {
        const std::int64_t row = t - back;
        if (reach == back - 1 && !is_border(in.segment, row + 1)) {
            reach = back;
        }
        const float* from = in.zeros;
        if (reach == back && row >= 0) {
            from = in.x + row * in.x_stride;
        } else if (reach == back && in.state != nullptr) {
            from = in.state + (row + W - 1) * in.channels;
        }
        tap[W - 1 - back] = from;
    }
    return reach;
}

/// bias + Σ weight·tap at channel e, taps oldest first.
template <int W, class V>
[[gnu::always_inline]] inline V convolve(const ConvInput& in, const V (&tap)[W], std::int64_t e) {
    V sum = load_as<V>(in.weight + W * in.padded + e);
    for (int w = 0; w < W; ++w) {
        sum = fma(load_as<V>(in.weight + w * in.padded + e), tap[w], sum);
    }
    return sum;
}

template <int W>
void conv_forward_rows(const ConvForward& task) {
    using V = VecPair<VecPair<Vec>>;
    const ConvInput& in = task.in;
    for (std::int64_t t = task.lo; t < task.hi; ++t) {
        const float* row[W];
        find_taps<W>(in, t, row);
        float* const y = task.y + t * task.y_stride;
        for (std::int64_t e = 0; e < in.channels; e += V::kWidth) {
            const std::int64_t left = in.channels - e;
            V tap[W];
            for (int w = 0; w < W; ++w) {
                tap[w] = load_channels<V>(row[w] + e, left);
            }
            const V sum = convolve<W, V>(in, tap, e);
            store_channels(y + e, sum * logistic(sum), left);
        }
    }
}

/// Moves the pending gradients one row back and gives that of row t. pending[k] is of row t − k
/// before, of row t − 1 − k after; a sum runs from its rightmost row, across calls too.
template <int W, class V>
[[gnu::always_inline]] inline V step_pending(const ConvBackward& task,
                                             std::int64_t e,
                                             V dsum,
                                             int reach) {
    const std::int64_t padded = task.in.padded;
    const float* const weight = task.in.weight + e;
    float* const pending = task.pending + e;
    const V none = broadcast_as<V>(0.0F);
    const V dx = fma(dsum, load_as<V>(weight + (W - 1) * padded), load_as<V>(pending));
    for (int k = 0; k < W - 1; ++k) {
        const V later = k + 1 < W - 1 ? load_as<V>(pending + (k + 1) * padded) : none;
        const V sum = fma(dsum, load_as<V>(weight + (W - 2 - k) * padded), later);
        store(pending + k * padded, k < reach ? sum : none);
    }
    return dx;
}

template <int W, bool IsInside>
[[gnu::always_inline]] inline void conv_backward_row(const ConvBackward& task, std::int64_t t) {
    using V = VecPair<Vec>;
    const ConvInput& in = task.in;
    const V one = broadcast_as<V>(1.0F);
    const float* row[W];
    const int reach = find_taps<W>(in, t, row);
    for (std::int64_t e = 0; e < in.channels; e += V::kWidth) {
        const std::int64_t left = in.channels - e;
        V tap[W];
        for (int w = 0; w < W; ++w) {
            tap[w] = load_channels<V>(row[w] + e, left);
        }
        const V sum = convolve<W, V>(in, tap, e);
        const V s = logistic(sum);
        const V slope = s * fma(sum, one - s, one);
        const V dsum = slope * load_channels<V>(task.dy + t * task.dy_stride + e, left);
        const V dx = step_pending<W>(task, e, dsum, reach);
        if constexpr (IsInside) {
            store_channels(task.dx + t * task.dx_stride + e, dx, left);
            float* const gradient = task.parameters + e;
            for (int w = 0; w < W; ++w) {
                float* const at = gradient + w * in.padded;
                store(at, fma(dsum, tap[w], load_as<V>(at)));
            }
            store(gradient + W * in.padded, load_as<V>(gradient + W * in.padded) + dsum);
        }
    }
}

template <int W>
void conv_backward_rows(const ConvBackward& task) {
    for (std::int64_t i = 0; i < (W + 1) * task.in.padded; i += Vec::kWidth) {
        store(task.parameters + i, zero());
    }
    std::int64_t t = task.end - 1;
    for (; t >= task.hi; --t) {
        conv_backward_row<W, false>(task, t);
    }
    for (; t >= task.lo; --t) {
        conv_backward_row<W, true>(task, t);
    }
}

void conv_forward(const ConvForward& task) {
    switch (task.in.taps) {
        case 2:
            return conv_forward_rows<2>(task);
        case 3:
            return conv_forward_rows<3>(task);
        default:
            return conv_forward_rows<4>(task);
    }
}

void conv_backward(const ConvBackward& task) {
    switch (task.in.taps) {
        case 2:
            return conv_backward_rows<2>(task);
        case 3:
            return conv_backward_rows<3>(task);
        default:
            return conv_backward_rows<4>(task);
    }
}

}  // namespace
}  // namespace mambase::cpu
