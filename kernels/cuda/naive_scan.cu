#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/cuda/naive_scan.hpp"

namespace mambase::cuda {

namespace {

constexpr std::int64_t kThreads = 256;

template <class T>
struct NaiveParams {
    LaneRows<const T> x, dt_raw, z, b, c;
    LaneRows<T> y;
    const float *a_log, *d, *dt_bias, *state_in;
    float* state_out;
    float *delta, *decay, *states;  // [B,T,E], [B,T,E,N], [B,T,E,N]
    std::int64_t batch, length, inner, state;
};

/// Where element `i` of [B,T,E], or of [B,T,E,N] over N, is.
struct Place {
    std::int64_t lane, t, e;
    template <class T>
    __device__ Place(const NaiveParams<T>& p, std::int64_t i)
        : lane(i / p.inner / p.length), t(i / p.inner % p.length), e(i % p.inner) {}
};

__device__ __forceinline__ std::int64_t thread_index() {
    return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

template <class T>
__global__ void delta_kernel(const NaiveParams<T> p) {
    const std::int64_t i = thread_index();
    if (i < p.batch * p.length * p.inner) {
        const Place at(p, i);
        const float r = to_float(p.dt_raw.row(at.lane, at.t)[at.e]) + p.dt_bias[at.e];
        p.delta[i] = r > 20.0F ? r : log1pf(expf(r));
    }
}

template <class T>
__global__ void decay_kernel(const NaiveParams<T> p) {
    const std::int64_t i = thread_index();
    if (i < p.batch * p.length * p.inner * p.state) {
        const std::int64_t e = i / p.state % p.inner;
        p.decay[i] = expf(-p.delta[i / p.state] * expf(p.a_log[e * p.state + i % p.state]));
    }
}

template <class T>
__global__ void input_kernel(const NaiveParams<T> p) {
    const std::int64_t i = thread_index();
    if (i < p.batch * p.length * p.inner * p.state) {
        const Place at(p, i / p.state);
        p.states[i] = p.delta[i / p.state] * to_float(p.b.row(at.lane, at.t)[i % p.state]) *
                      to_float(p.x.row(at.lane, at.t)[at.e]);
    }
}

/// A thread for each state of each lane.
template <class T>
__global__ void recurrence_kernel(const NaiveParams<T> p) {
    const std::int64_t i = thread_index();
    const std::int64_t row = p.inner * p.state;
    if (i >= p.batch * row) {
        return;
    }
    const std::int64_t first = i / row * p.length * row + i % row;
    float h = p.state_in[i];
#pragma unroll 8
    for (std::int64_t t = 0; t < p.length; ++t) {
        h = fmaf(p.decay[first + t * row], h, p.states[first + t * row]);
        p.states[first + t * row] = h;
    }
    p.state_out[i] = h;
}

template <class T>
__device__ __forceinline__ T narrowed(float value) {
    if constexpr (std::is_same_v<T, __nv_bfloat16>) {
        return __float2bfloat16_rn(value);
    } else {
        return value;
    }
}

template <class T>
__global__ void output_kernel(const NaiveParams<T> p) {
    const std::int64_t i = thread_index();
    if (i < p.batch * p.length * p.inner) {
        const Place at(p, i);
        float sum = p.d[at.e] * to_float(p.x.row(at.lane, at.t)[at.e]);
        for (std::int64_t n = 0; n < p.state; ++n) {
            sum = fmaf(to_float(p.c.row(at.lane, at.t)[n]), p.states[i * p.state + n], sum);
        }
        const float z = to_float(p.z.row(at.lane, at.t)[at.e]);
        p.y.row(at.lane, at.t)[at.e] = narrowed<T>(sum * z / (1.0F + expf(-z)));
    }
}

template <class T>
NaiveParams<T> params_of(ops::Context& context, const ops::SelectiveScan& op) {
    NaiveParams<T> p{};
    p.batch = op.x.extent(0);
    p.length = op.x.extent(1);
    p.inner = op.x.extent(2);
    p.state = op.a_log.extent(1);
    p.x = lane_rows<const T>(op.x);
    p.dt_raw = lane_rows<const T>(op.dt_raw);
    p.z = lane_rows<const T>(op.z);
    p.b = lane_rows<const T>(op.b);
    p.c = lane_rows<const T>(op.c);
    p.y = lane_rows<T>(op.y);
    p.a_log = static_cast<const float*>(op.a_log.data());
    p.d = static_cast<const float*>(op.d.data());
    p.dt_bias = static_cast<const float*>(op.dt_bias.data());
    p.state_in = static_cast<const float*>(op.state_in.data());
    p.state_out = static_cast<float*>(op.state_out.data());
    const auto take = [&](const Shape& shape) {
        return static_cast<float*>(context.step.take(DType::f32, shape).data());
    };
    p.delta = take({p.batch, p.length, p.inner});
    p.decay = take({p.batch, p.length, p.inner, p.state});
    p.states = take({p.batch, p.length, p.inner, p.state});
    return p;
}

}  // namespace

void naive_scan_forward(ops::Context& context, const ops::SelectiveScan& op) {
    if (op.x.count() == 0) {
        return;
    }
    const StepMemory::Scope scope(context.step);
    const cudaStream_t stream = stream_of(context);
    with_activation_type(op.x.dtype(), [&](auto element) {
        using T = decltype(element);
        const NaiveParams<T> p = params_of<T>(context, op);
        const std::int64_t channels = p.batch * p.inner;
        const auto grid = [](std::int64_t threads) {
            return grid_size(ceil_div(threads, kThreads));
        };
        delta_kernel<T><<<grid(channels * p.length), kThreads, 0, stream>>>(p);
        decay_kernel<T><<<grid(channels * p.length * p.state), kThreads, 0, stream>>>(p);
        input_kernel<T><<<grid(channels * p.length * p.state), kThreads, 0, stream>>>(p);
        recurrence_kernel<T><<<grid(channels * p.state), kThreads, 0, stream>>>(p);
        output_kernel<T><<<grid(channels * p.length), kThreads, 0, stream>>>(p);
    });
    check_launch("naive_scan", stream);
}

}  // namespace mambase::cuda
