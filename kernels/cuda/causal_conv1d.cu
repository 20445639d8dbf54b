#include "base/checked_math.hpp"
#include "kernels/cuda/causal_conv1d.cuh"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/tile_sums.hpp"
#include "kernels/ops/causal_conv1d.hpp"

#include <algorithm>

namespace mambase::cuda {

namespace {

template <class T, class Op>
ConvInputs<T> conv_inputs(const Op& op) {
    ConvInputs<T> in{};
    in.x = lane_rows<const T>(op.x);
    in.weight = static_cast<const float*>(op.weight.data());
    in.bias = static_cast<const float*>(op.bias.data());
    in.segment = static_cast<const std::int32_t*>(op.segment.data());
    in.segment_stride = op.segment.stride(0);
    in.valid = static_cast<const std::int64_t*>(op.valid.data());
    in.state_in = static_cast<const float*>(op.state_in.data());
    in.length = op.x.extent(1);
    in.channels = op.x.extent(2);
    return in;
}

template <int W, bool HasSegment>
struct ConvVariant {
    static constexpr int kTaps = W;
    static constexpr bool kHasSegment = HasSegment;
};

/// Calls launch(ConvVariant) for the number of taps and for whether there are segments.
template <class Op, class Launch>
void with_variant(const Op& op, const Launch& launch) {
    const std::int64_t taps = op.weight.extent(1);
    if (op.segment) {
        taps == 2   ? launch(ConvVariant<2, true>{})
        : taps == 3 ? launch(ConvVariant<3, true>{})
                    : launch(ConvVariant<4, true>{});
    } else {
        taps == 2   ? launch(ConvVariant<2, false>{})
        : taps == 3 ? launch(ConvVariant<3, false>{})
                    : launch(ConvVariant<4, false>{});
    }
}

/// Positions of a run: long ones read less twice, but a short call has to fill the device. What a
/// row is does not depend on it.
int forward_run(const ops::CausalConv1d& op, std::int64_t warps_of_a_row, int multiprocessors) {
    int run = kConvRun;
    while (run > 8 && op.x.extent(0) * ceil_div(op.x.extent(1), run) * warps_of_a_row <
                          std::int64_t{16} * multiprocessors) {
        run /= 2;
    }
    return run;
}

template <class T, int N>
void launch_forward(ops::Context& context, const ops::CausalConv1d& op) {
    const cudaStream_t stream = stream_of(context);
    const std::int64_t slabs = ceil_div(op.x.extent(2), kWarp * N);
    ConvParams<T> p{};
    p.in = conv_inputs<T>(op);
    p.y = lane_rows<T>(op.y);
    p.run = forward_run(op, slabs, queue_of(context).multiprocessors());
    p.lane_blocks = grid_size(ceil_div(p.in.length, std::int64_t{p.run} * kConvForwardRuns));
    const dim3 grid(grid_size(op.x.extent(0) * p.lane_blocks), grid_size(slabs));
    with_variant(op, [&](auto v) {
        causal_conv1d_forward_kernel<T, v.kTaps, N, v.kHasSegment>
            <<<grid, dim3(kWarp, kConvForwardRuns), 0, stream>>>(p);
    });
    check_launch("causal_conv1d", stream);
}

template <class T>
void launch_state(ops::Context& context, const ops::CausalConv1d& op) {
    constexpr int kThreads = kWarp * kConvForwardRuns;
    ConvParams<T> p{};
    p.in = conv_inputs<T>(op);
    p.state_out = static_cast<float*>(op.state_out.data());
    p.lane_blocks = grid_size(ceil_div(p.in.channels, kThreads));
    const unsigned blocks = grid_size(op.x.extent(0) * p.lane_blocks);
    causal_conv1d_state_kernel<<<blocks, kThreads, 0, stream_of(context)>>>(
        p, static_cast<int>(op.weight.extent(1)) - 1);
    check_launch("causal_conv1d", stream_of(context));
}

template <class T, int N>
void launch_backward(const ops::CausalConv1dGrad& op,
                     const float* dstate_out,
                     float* parts,
                     std::int64_t lane_parts,
                     cudaStream_t stream) {
    ConvGradParams<T> p{};
    p.in = conv_inputs<T>(op);
    p.dy = lane_rows<const T>(op.dy);
    p.dx = lane_rows<T>(op.dx);
    p.dstate_out = dstate_out;
    p.dstate_in = static_cast<float*>(op.dstate_in.data());
    p.parts = parts;
    p.lane_parts = grid_size(lane_parts);
    const dim3 grid(grid_size(op.x.extent(0) * lane_parts),
                    grid_size(ceil_div(p.in.channels, kWarp * N)));
    with_variant(op, [&](auto v) {
        causal_conv1d_backward_kernel<T, v.kTaps, N, v.kHasSegment>
            <<<grid, dim3(kWarp, kConvBackwardRuns), 0, stream>>>(p);
    });
    check_launch("causal_conv1d backward", stream);
}

/// dstate_out, in scratch where dstate_in is the same memory: other blocks write that.
const float* kept_dstate(ops::Context& context, const ops::CausalConv1dGrad& op) {
    if (!op.dstate_out || op.dstate_out.data() != op.dstate_in.data()) {
        return static_cast<const float*>(op.dstate_out.data());
    }
    const TensorView kept = context.step.take(DType::f32, op.dstate_out.shape());
    copy(context.queue, op.dstate_out, kept);
    return static_cast<const float*>(kept.data());
}

}  // namespace

// 2^20 × 512 bf16: 2.15 GB, 0.72 ms at 3 TB/s; the ends of runs add 2 %; predicted 0.8, measured
// 0.78.
void causal_conv1d_forward(ops::Context& context, const ops::CausalConv1d& op) {
    if (op.x.extent(0) == 0 || op.x.extent(2) == 0) {
        return;
    }
    with_activation_type(op.x.dtype(), [&](auto element) {
        using T = decltype(element);
        constexpr int kVector = 16 / static_cast<int>(sizeof(T));
        if (op.x.extent(1) == 0) {
        } else if (takes_vectors(op.x, kVector) && takes_vectors(op.y, kVector)) {
            launch_forward<T, kVector>(context, op);
        } else {
            launch_forward<T, 1>(context, op);
        }
        if (op.state_out) {
            launch_state<T>(context, op);
        }
    });
}

// 2^20 × 512 bf16: 3.2 GB, 1.07 ms; the ends of runs add 4 %, some 25 instructions an element take
// half of that time; predicted 1.25, measured 1.26.
void causal_conv1d_backward(ops::Context& context, const ops::CausalConv1dGrad& op) {
    const std::int64_t lanes = op.x.extent(0);
    const std::int64_t channels = op.x.extent(2);
    if (lanes == 0 || channels == 0) {
        return;
    }
    const StepMemory::Scope scope(context.step);
    const cudaStream_t stream = stream_of(context);
    const std::int64_t taps = op.weight.extent(1);
    // A lane without rows has a part too: its state's gradient passes through.
    const std::int64_t lane_parts = std::max<std::int64_t>(ceil_div(op.x.extent(1), kConvPart), 1);
    const std::int64_t count = channels * (taps + 1);
    auto* const parts =
        static_cast<float*>(context.step.take(DType::f32, {lanes, lane_parts, count}).data());
    const float* const dstate_out = kept_dstate(context, op);
    with_activation_type(op.x.dtype(), [&](auto element) {
        using T = decltype(element);
        constexpr int kVector = 4;
        if (takes_vectors(op.x, kVector) && takes_vectors(op.dy, kVector) &&
            takes_vectors(op.dx, kVector)) {
            launch_backward<T, kVector>(op, dstate_out, parts, lane_parts, stream);
        } else {
            launch_backward<T, 1>(op, dstate_out, parts, lane_parts, stream);
        }
    });
    PartSums sums{};
    sums.parts = parts;
    sums.lanes = lanes;
    sums.lane_parts = lane_parts;
    sums.rows = kConvPart;
    sums.count = count;
    sums.out = static_cast<double*>(op.dweight.data());
    sums.split = channels * taps;
    sums.rest = static_cast<double*>(op.dbias.data());
    add_part_sums("causal_conv1d backward", sums, stream);
}

}  // namespace mambase::cuda
