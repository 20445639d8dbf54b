#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/rms_norm.cuh"
#include "kernels/cuda/tile_sums.hpp"
#include "kernels/ops/rms_norm.hpp"

namespace mambase::cuda {

namespace {

constexpr dim3 kBlock(kWarp, kNormWarps);

/// Calls launch(groups, is_vector), both as std::integral_constant, for the smallest kernel that
/// keeps a row of `width` in registers, else for the largest.
template <class Launch>
void with_groups(std::int64_t width, bool is_vector, const Launch& launch) {
    if (!is_vector) {
        launch(std::integral_constant<int, kNormMaxGroups>{}, std::false_type{});
    } else if (width <= 2 * kNormGroup) {
        launch(std::integral_constant<int, 2>{}, std::true_type{});
    } else if (width <= 4 * kNormGroup) {
        launch(std::integral_constant<int, 4>{}, std::true_type{});
    } else {
        launch(std::integral_constant<int, kNormMaxGroups>{}, std::true_type{});
    }
}

template <class THidden, class TOut>
void launch_forward(const ops::RmsNorm& op, cudaStream_t stream) {
    RmsNormParams<THidden, TOut> p{};
    p.hidden = lane_rows<const THidden>(op.hidden);
    p.residual_in = lane_rows<const float>(op.residual_in);
    p.ids = lane_rows<const std::uint8_t>(op.ids);
    p.residual_out = lane_rows<float>(op.residual_out);
    p.y = lane_rows<TOut>(op.y);
    p.weight = static_cast<const float*>(op.weight.data());
    p.rstd = static_cast<float*>(op.rstd.data());
    p.eps = op.eps;
    p.length = op.y.extent(1);
    p.width = op.y.extent(2);
    p.lane_blocks = grid_size(ceil_div(p.length, kNormWarps));
    const unsigned blocks = grid_size(op.y.extent(0) * p.lane_blocks);
    bool is_vector = true;
    for (const ConstTensorView& view : {op.hidden, op.residual_in, ConstTensorView(op.residual_out),
                                        ConstTensorView(op.y), op.weight}) {
        is_vector = is_vector && takes_vectors(view, kNormChannels);
    }
    with_groups(p.width, is_vector, [&](auto groups, auto vector) {
        rms_norm_forward_kernel<groups.value, vector.value><<<blocks, kBlock, 0, stream>>>(p);
    });
    check_launch("rms_norm", stream);
}

template <class T>
void launch_backward(const ops::RmsNormGrad& op, float* dot, float* parts, cudaStream_t stream) {
    RmsNormGradParams<T> p{};
    p.residual_out = lane_rows<const float>(op.residual_out);
    p.dy = lane_rows<const T>(op.dy);
    p.dresidual_out = lane_rows<const float>(op.dresidual_out);
    p.dx = lane_rows<float>(op.dx);
    p.dx_bf16 = lane_rows<__nv_bfloat16>(op.dx_bf16);
    p.weight = static_cast<const float*>(op.weight.data());
    p.rstd = static_cast<const float*>(op.rstd.data());
    p.dot = dot;
    p.parts = parts;
    p.length = op.dy.extent(1);
    p.width = op.dy.extent(2);
    p.lane_blocks = grid_size(ceil_div(p.length, kNormPart));
    const unsigned blocks = grid_size(op.dy.extent(0) * p.lane_blocks);
    bool is_vector = true;
    for (const ConstTensorView& view :
         {op.residual_out, op.dy, op.dresidual_out, ConstTensorView(op.dx),
          ConstTensorView(op.dx_bf16), op.weight}) {
        is_vector = is_vector && takes_vectors(view, kNormChannels);
    }
    with_groups(p.width, is_vector, [&](auto groups, auto vector) {
        if (dot != nullptr) {
            rms_norm_dot_kernel<groups.value, vector.value><<<blocks, kBlock, 0, stream>>>(p);
        }
        const dim3 grid(blocks, grid_size(ceil_div(p.width, groups.value * kNormGroup)));
        rms_norm_backward_kernel<groups.value, vector.value><<<grid, kBlock, 0, stream>>>(p);
    });
    check_launch("rms_norm backward", stream);
}

}  // namespace

// 2^20 × 256, bf16 hidden and y: 3.2 GB, 1.07 ms at 3 TB/s; predicted 1.15, measured 1.08.
void rms_norm_forward(ops::Context& context, const ops::RmsNorm& op) {
    if (op.y.count() == 0) {
        return;
    }
    const DType hidden = op.hidden ? op.hidden.dtype() : op.y.dtype();
    with_activation_type(hidden, [&](auto in) {
        with_activation_type(op.y.dtype(), [&](auto out) {
            launch_forward<decltype(in), decltype(out)>(op, stream_of(context));
        });
    });
}

// 2^20 × 256, bf16 dy and dx_bf16: 4.3 GB, 1.43 ms; predicted 1.6, measured 1.51.
void rms_norm_backward(ops::Context& context, const ops::RmsNormGrad& op) {
    if (op.dy.count() == 0) {
        return;
    }
    const StepMemory::Scope scope(context.step);
    const std::int64_t lanes = op.dy.extent(0);
    const std::int64_t length = op.dy.extent(1);
    const std::int64_t width = op.dy.extent(2);
    const std::int64_t lane_parts = ceil_div(length, kNormPart);
    auto* const parts =
        static_cast<float*>(context.step.take(DType::f32, {lanes, lane_parts, width}).data());
    float* dot = nullptr;
    if (width > kNormMaxGroups * kNormGroup) {
        dot = static_cast<float*>(context.step.take(DType::f32, {lanes, length}).data());
    }
    with_activation_type(op.dy.dtype(), [&](auto element) {
        launch_backward<decltype(element)>(op, dot, parts, stream_of(context));
    });
    PartSums sums{};
    sums.parts = parts;
    sums.lanes = lanes;
    sums.lane_parts = lane_parts;
    sums.rows = kNormPart;
    sums.count = width;
    sums.out = static_cast<double*>(op.dweight.data());
    sums.split = width;
    add_part_sums("rms_norm backward", sums, stream_of(context));
}

}  // namespace mambase::cuda
