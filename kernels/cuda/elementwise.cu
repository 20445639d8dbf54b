#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/ops/elementwise.hpp"

namespace mambase::cuda {

namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kNormBlock = 16384;  // elements that a block of norm_sq sums

__device__ __forceinline__ std::int64_t thread_index() {
    return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

template <class From, class To>
__device__ __forceinline__ To converted(From x) {
    if constexpr (std::is_same_v<To, __nv_bfloat16>) {
        return __float2bfloat16_rn(x);
    } else if constexpr (std::is_same_v<From, __nv_bfloat16>) {
        return __bfloat162float(x);
    } else {
        return static_cast<To>(x);
    }
}

template <class From, class To>
__global__ __launch_bounds__(kThreads) void cast_kernel(const From* x, To* y, std::int64_t count) {
    const std::int64_t i = thread_index();
    if (i < count) {
        y[i] = converted<From, To>(x[i]);
    }
}

template <class T>
__global__ __launch_bounds__(kThreads) void fill_kernel(T* y, T value, std::int64_t count) {
    const std::int64_t i = thread_index();
    if (i < count) {
        y[i] = value;
    }
}

__global__ __launch_bounds__(kThreads) void add_kernel(const double* x,
                                                       double* y,
                                                       std::int64_t count) {
    const std::int64_t i = thread_index();
    if (i < count) {
        y[i] += x[i];
    }
}

/// sums[block] = Σ x² of its kNormBlock elements.
template <class T>
__global__ __launch_bounds__(kThreads) void norm_sq_kernel(const T* x,
                                                           double* sums,
                                                           std::int64_t count) {
    const std::int64_t first = blockIdx.x * kNormBlock;
    const std::int64_t end = min(first + kNormBlock, count);
    double sum = 0.0;
    for (std::int64_t i = first + threadIdx.x; i < end; i += kThreads) {
        const auto value = static_cast<double>(x[i]);
        sum += value * value;
    }
    sum = block_sum<kThreads>(sum);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
    }
}

__global__ __launch_bounds__(kThreads) void norm_sq_total_kernel(const double* sums,
                                                                 std::int64_t blocks,
                                                                 double* total) {
    double sum = 0.0;
    for (std::int64_t i = threadIdx.x; i < blocks; i += kThreads) {
        sum += sums[i];
    }
    sum = block_sum<kThreads>(sum);
    if (threadIdx.x == 0) {
        *total = sum;
    }
}

template <class From, class To>
void cast_as(const ops::Cast& op, cudaStream_t stream) {
    const std::int64_t count = op.x.count();
    cast_kernel<<<grid_size(ceil_div(count, kThreads)), kThreads, 0, stream>>>(
        static_cast<const From*>(op.x.data()), static_cast<To*>(op.y.data()), count);
}

template <class T>
void fill_as(const ops::Fill& op, cudaStream_t stream) {
    const std::int64_t count = op.y.count();
    fill_kernel<<<grid_size(ceil_div(count, kThreads)), kThreads, 0, stream>>>(
        static_cast<T*>(op.y.data()), static_cast<T>(op.value), count);
}

}  // namespace

void cast(ops::Context& context, const ops::Cast& op) {
    if (op.x.count() == 0) {
        return;
    }
    const cudaStream_t stream = stream_of(context);
    if (op.y.dtype() == DType::bf16) {
        cast_as<float, __nv_bfloat16>(op, stream);
    } else if (op.x.dtype() == DType::bf16) {
        cast_as<__nv_bfloat16, float>(op, stream);
    } else if (op.x.dtype() == DType::f32) {
        cast_as<float, double>(op, stream);
    } else {
        cast_as<double, float>(op, stream);
    }
    check_launch("cast", stream);
}

void fill(ops::Context& context, const ops::Fill& op) {
    if (op.y.count() == 0) {
        return;
    }
    const cudaStream_t stream = stream_of(context);
    switch (op.y.dtype()) {
        case DType::f32:
            fill_as<float>(op, stream);
            break;
        case DType::f64:
            fill_as<double>(op, stream);
            break;
        case DType::i32:
            fill_as<std::int32_t>(op, stream);
            break;
        case DType::i64:
            fill_as<std::int64_t>(op, stream);
            break;
        case DType::u8:
            fill_as<std::uint8_t>(op, stream);
            break;
        case DType::bf16:
            break;  // ops::check() has refused it
    }
    check_launch("fill", stream);
}

void add(ops::Context& context, const ops::Add& op) {
    const std::int64_t count = op.x.count();
    if (count == 0) {
        return;
    }
    const cudaStream_t stream = stream_of(context);
    add_kernel<<<grid_size(ceil_div(count, kThreads)), kThreads, 0, stream>>>(
        static_cast<const double*>(op.x.data()), static_cast<double*>(op.y.data()), count);
    check_launch("add", stream);
}

void norm_sq(ops::Context& context, const ops::NormSq& op) {
    const StepMemory::Scope scope(context.step);
    const cudaStream_t stream = stream_of(context);
    const std::int64_t count = op.x.count();
    const std::int64_t blocks = ceil_div(count, kNormBlock);
    auto* const sums = static_cast<double*>(context.step.take(DType::f64, {blocks}).data());
    if (blocks > 0 && op.x.dtype() == DType::f32) {
        norm_sq_kernel<<<grid_size(blocks), kThreads, 0, stream>>>(
            static_cast<const float*>(op.x.data()), sums, count);
    } else if (blocks > 0) {
        norm_sq_kernel<<<grid_size(blocks), kThreads, 0, stream>>>(
            static_cast<const double*>(op.x.data()), sums, count);
    }
    norm_sq_total_kernel<<<1, kThreads, 0, stream>>>(sums, blocks,
                                                     static_cast<double*>(op.sum.data()));
    check_launch("norm_sq", stream);
}

}  // namespace mambase::cuda
