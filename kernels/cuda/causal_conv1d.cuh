// Causal depthwise convolution and SiLU. A thread owns N neighbouring channels and walks a run of
// positions with the W − 1 inputs beside it in registers, so that an input is read once but at the
// ends of runs: forward from left to right, backward from right to left.
#pragma once

#include "kernels/cuda/device/rows.cuh"

namespace mambase::cuda {

constexpr int kConvForwardRuns = 4;   // of a block; a warp each
constexpr int kConvBackwardRuns = 8;  //
constexpr int kConvRun = 128;         // positions of a run of the backward; forward: at most
constexpr int kConvPart = kConvBackwardRuns * kConvRun;
constexpr int kConvBatch = 4;  // rows in flight
template <int N>
constexpr int kConvBackwardBlocks = N > 2 ? 2 : 3;  // of a multiprocessor

template <class T>
struct ConvInputs {
    LaneRows<const T> x;
    const float* weight;          // [E,W]
    const float* bias;            // [E] or null
    const std::int32_t* segment;  // [B,T] or null
    std::int64_t segment_stride;
    const std::int64_t* valid;  // [B] or null
    const float* state_in;      // [B,W−1,E] or null
    std::int64_t length, channels;
};

template <class T>
struct ConvParams {
    ConvInputs<T> in;
    LaneRows<T> y;
    float* state_out;      // [B,W−1,E]
    unsigned lane_blocks;  // of kConvForwardRuns runs; for the state: of channels
    int run;               // positions
};

template <class T>
struct ConvGradParams {
    ConvInputs<T> in;
    LaneRows<const T> dy;
    LaneRows<T> dx;
    const float* dstate_out;  // [B,W−1,E] or null; not dstate_in
    float* dstate_in;         // [B,W−1,E] or null
    float* parts;             // [B, parts of a lane, E·W + E]
    unsigned lane_parts;
};

/// One lane and N channels of it, as their thread sees them. Without HasSegment no row is out of
/// another's sight.
template <class T, int W, int N, bool HasSegment>
struct ConvLane {
    LaneRows<const T> x;
    const float* state;           // of the first channel; null: zeros
    const std::int32_t* segment;  // null: one
    std::int64_t lane, channel, channels;
    float weight[W][N];
    float bias[N];

    __device__ __forceinline__ ConvLane(const ConvInputs<T>& in,
                                        std::int64_t at_lane,
                                        std::int64_t at_channel)
        : x(in.x),
          state(in.state_in == nullptr
                    ? nullptr
                    : in.state_in + at_lane * (W - 1) * in.channels + at_channel),
          segment(in.segment == nullptr ? nullptr : in.segment + at_lane * in.segment_stride),
          lane(at_lane),
          channel(at_channel),
          channels(in.channels) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
#pragma unroll
            for (int w = 0; w < W; ++w) {
                weight[w][i] = __ldg(in.weight + (at_channel + i) * W + w);
            }
            bias[i] = in.bias == nullptr ? 0.0F : __ldg(in.bias + at_channel + i);
        }
    }

    __device__ __forceinline__ Raw<T, N> raw_row(std::int64_t t) const {
        return load_raw<N>(x.row(lane, t) + channel);
    }
    /// Row t, of the state for t < 0.
    __device__ __forceinline__ void row(std::int64_t t, float (&out)[N]) const {
        if (t >= 0) {
            Pack<T, N>::unpack(raw_row(t), out);
            return;
        }
#pragma unroll
        for (int i = 0; i < N; ++i) {
            out[i] = t > -W && state != nullptr ? __ldg(state + (t + W - 1) * channels + i) : 0.0F;
        }
    }
    __device__ __forceinline__ std::int32_t id(std::int64_t t) const {
        return HasSegment ? __ldg(segment + t) : 0;
    }
    /// Whether rows before t are out of sight from t on.
    __device__ __forceinline__ bool is_border(std::int64_t t) const {
        return HasSegment && t > 0 && id(t) != id(t - 1);
    }
    /// bias + Σ weight·tap, taps oldest first.
    __device__ __forceinline__ float convolve(const float (&tap)[W][N], int i) const {
        float sum = bias[i];
#pragma unroll
        for (int w = 0; w < W; ++w) {
            sum = fmaf(weight[w][i], tap[w][i], sum);
        }
        return sum;
    }
};

/// One row: moves the taps on and writes y.
template <class T, int W, int N, bool HasSegment>
__device__ __forceinline__ void conv_forward_step(const ConvLane<T, W, N, HasSegment>& lane,
                                                  bool is_border,
                                                  Raw<T, N> raw,
                                                  float (&tap)[W][N],
                                                  T* y) {
#pragma unroll
    for (int w = 0; w + 1 < W; ++w) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            tap[w][i] = HasSegment && is_border ? 0.0F : tap[w + 1][i];
        }
    }
    Pack<T, N>::unpack(raw, tap[W - 1]);
    float out[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
        const float sum = lane.convolve(tap, i);
        out[i] = sum * sigmoid(sum);
    }
    store(y, out);
}

/// tap[w + 1] becomes what tap[w] of row t will be.
template <class T, int W, int N, bool HasSegment>
__device__ __forceinline__ void conv_forward_taps(const ConvLane<T, W, N, HasSegment>& lane,
                                                  std::int64_t t,
                                                  float (&tap)[W][N]) {
#pragma unroll
    for (int w = 1; w < W; ++w) {
        lane.row(t - W + w, tap[w]);
    }
#pragma unroll
    for (int border = 2; border < W; ++border) {
        const bool is_border = lane.is_border(t - W + border);
#pragma unroll
        for (int w = 1; w < border; ++w) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                tap[w][i] = HasSegment && is_border ? 0.0F : tap[w][i];
            }
        }
    }
}

/// Rows in flight, fetched one batch before they are used.
template <class T, int N>
struct ConvForwardBatch {
    Raw<T, N> x[kConvBatch];
    std::int32_t id[kConvBatch];

    template <class Lane>
    __device__ __forceinline__ void fetch(const Lane& lane, std::int64_t t) {
#pragma unroll
        for (int i = 0; i < kConvBatch; ++i) {
            x[i] = lane.raw_row(t + i);
            id[i] = lane.id(t + i);
        }
    }
};

template <class T, int W, int N, bool HasSegment>
__global__ __launch_bounds__(kWarp* kConvForwardRuns) void causal_conv1d_forward_kernel(
    ConvParams<T> p) {
    const ConvInputs<T>& in = p.in;
    const std::int64_t b = blockIdx.x / p.lane_blocks;
    const std::int64_t run =
        static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kConvForwardRuns + threadIdx.y;
    const std::int64_t channel = (static_cast<std::int64_t>(blockIdx.y) * kWarp + threadIdx.x) * N;
    const std::int64_t lo = run * p.run;
    if (channel >= in.channels || lo >= in.length) {
        return;
    }
    const std::int64_t hi = min(lo + p.run, in.length);
    const std::int64_t stop = max(lo, min(hi, valid_length(in.valid, b, in.length)));
    const ConvLane<T, W, N, HasSegment> lane(in, b, channel);
    std::int64_t t = lo;
    ConvForwardBatch<T, N> batch;
    if (t + kConvBatch <= stop) {
        batch.fetch(lane, t);
    }
    float tap[W][N];
    conv_forward_taps(lane, t, tap);
    std::int32_t id = lane.id(max(t, std::int64_t{1}) - 1);  // position 0 continues the state
    T* y = p.y.row(b, t) + channel;
    for (; t + kConvBatch <= stop; t += kConvBatch) {
        const ConvForwardBatch<T, N> now = batch;
        // The last batch again at the end: without a branch the loads stay above the arithmetic.
        batch.fetch(lane, min(t + kConvBatch, stop - kConvBatch));
#pragma unroll
        for (int i = 0; i < kConvBatch; ++i) {
            conv_forward_step(lane, now.id[i] != id, now.x[i], tap, y);
            id = now.id[i];
            y += p.y.row_stride;
        }
    }
    for (; t < stop; ++t, y += p.y.row_stride) {
        conv_forward_step(lane, lane.is_border(t), lane.raw_row(t), tap, y);
    }
    constexpr float kZeros[N] = {};
    for (; t < hi; ++t, y += p.y.row_stride) {
        store(y, kZeros);
    }
}

/// The last W − 1 inputs before `valid`, those before the last border as zeros. A thread has one
/// channel and moves entries towards the front only, so that state_out may be state_in.
template <class T>
__global__ __launch_bounds__(kWarp* kConvForwardRuns) void causal_conv1d_state_kernel(
    ConvParams<T> p, int kept) {
    const ConvInputs<T>& in = p.in;
    const std::int64_t b = blockIdx.x / p.lane_blocks;
    const std::int64_t channel =
        static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kWarp * kConvForwardRuns +
        threadIdx.x;
    if (channel >= in.channels) {
        return;
    }
    const std::int64_t valid = valid_length(in.valid, b, in.length);
    const std::int64_t reach = max(valid - kept, std::int64_t{1});
    const std::int32_t* const segment =
        in.segment == nullptr ? nullptr : in.segment + b * in.segment_stride;
    std::int64_t seen = -kept;
    for (std::int64_t t = valid - 1; segment != nullptr && seen < 0 && t >= reach; --t) {
        seen = segment[t] != segment[t - 1] ? t : seen;
    }
    const std::int64_t state = b * kept * in.channels + channel;
    for (int i = 0; i < kept; ++i) {
        const std::int64_t t = valid - kept + i;
        float value = 0.0F;
        if (t >= seen && t >= 0) {
            value = to_float(in.x.row(b, t)[channel]);
        } else if (t >= seen && in.state_in != nullptr) {
            value = in.state_in[state + (t + kept) * in.channels];
        }
        p.state_out[state + i * in.channels] = value;
    }
}

/// The walk of one thread of the backward: the taps and the pending gradients beside its position.
template <class T, int W, int N, bool HasSegment>
struct ConvBackwardWalk {
    using Lane = ConvLane<T, W, N, HasSegment>;

    float tap[W][N];          // rows t − W + 1 … t
    float pending[W - 1][N];  // gradients of rows t, t − 1, … from rows right of t
    float dweight[W][N];
    float dbias[N];
    bool border[W - 1];   // before rows t, t − 1, …
    std::int32_t oldest;  // segment of row t − W + 1

    /// To stand at row t. The pending gradients are those of dstate_out's entries, the newest
    /// first, where `dstate` is given.
    __device__ __forceinline__ void start(const Lane& lane, std::int64_t t, const float* dstate) {
#pragma unroll
        for (int w = 0; w < W; ++w) {
            lane.row(t - (W - 1) + w, tap[w]);
        }
#pragma unroll
        for (int k = 0; k + 1 < W; ++k) {
            border[k] = lane.is_border(t - k);
#pragma unroll
            for (int i = 0; i < N; ++i) {
                pending[k][i] = dstate == nullptr ? 0.0F : dstate[(W - 2 - k) * lane.channels + i];
            }
        }
        oldest = t >= W - 1 ? lane.id(t - W + 1) : 0;
    }

    /// Row t. A row's gradient is one chain from its rightmost part, across calls too.
    template <bool IsInside>
    __device__ __forceinline__ void step(const Lane& lane, Raw<T, N> raw_dy, T* dx) {
        float dy[N];
        float out[N];
        Pack<T, N>::unpack(raw_dy, dy);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            float seen[W];
            bool is_seen = true;
#pragma unroll
            for (int w = W - 1; w >= 0; --w) {
                seen[w] = !HasSegment || is_seen ? tap[w][i] : 0.0F;
                is_seen = w > 0 && is_seen && !border[W - 1 - w];
            }
            float sum = lane.bias[i];
#pragma unroll
            for (int w = 0; w < W; ++w) {
                sum = fmaf(lane.weight[w][i], seen[w], sum);
            }
            const float s = sigmoid(sum);
            const float dsum = dy[i] * s * fmaf(sum, 1.0F - s, 1.0F);
            out[i] = fmaf(dsum, lane.weight[W - 1][i], pending[0][i]);
#pragma unroll
            for (int k = 0; k + 1 < W; ++k) {
                const float later = k + 2 < W ? pending[k + 1][i] : 0.0F;
                const float next = fmaf(dsum, lane.weight[W - 2 - k][i], later);
                pending[k][i] = HasSegment && border[0] ? 0.0F : next;
            }
            if (IsInside) {
#pragma unroll
                for (int w = 0; w < W; ++w) {
                    dweight[w][i] = fmaf(dsum, seen[w], dweight[w][i]);
                }
                dbias[i] += dsum;
            }
        }
        if (IsInside) {
            store(dx, out);
        }
    }

    /// From row t to t − 1; tap[0] is then to be filled with row t − W, of segment `id`.
    __device__ __forceinline__ void move(std::int64_t t, std::int32_t id) {
#pragma unroll
        for (int w = W - 1; w > 0; --w) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                tap[w][i] = tap[w - 1][i];
            }
        }
#pragma unroll
        for (int k = 0; k + 2 < W; ++k) {
            border[k] = border[k + 1];
        }
        border[W - 2] = HasSegment && t >= W && id != oldest;
        oldest = id;
    }
};

template <class T, int N>
struct ConvBackwardBatch {
    Raw<T, N> x[kConvBatch];   // rows t − W, t − W − 1, …
    Raw<T, N> dy[kConvBatch];  // rows t, t − 1, …
    std::int32_t id[kConvBatch];

    template <class Lane>
    __device__ __forceinline__ void fetch(const Lane& lane,
                                          const T* dy_row,
                                          std::int64_t dy_stride,
                                          std::int64_t before) {
#pragma unroll
        for (int i = 0; i < kConvBatch; ++i) {
            x[i] = lane.raw_row(before - i);
            id[i] = lane.id(before - i);
            dy[i] = load_raw<N>(dy_row - i * dy_stride);
        }
    }
};

/// Rows [begin, t] one by one, those from `stop` on without a trace in dx and the parameters.
template <class T, int W, int N, bool HasSegment>
__device__ __forceinline__ void conv_backward_rows(const ConvGradParams<T>& p,
                                                   const ConvLane<T, W, N, HasSegment>& lane,
                                                   std::int64_t t,
                                                   std::int64_t begin,
                                                   std::int64_t stop,
                                                   ConvBackwardWalk<T, W, N, HasSegment>& walk) {
    for (; t >= begin; --t) {
        const Raw<T, N> dy = load_raw<N>(p.dy.row(lane.lane, t) + lane.channel);
        if (t >= stop) {
            walk.template step<false>(lane, dy, nullptr);
        } else {
            walk.template step<true>(lane, dy, p.dx.row(lane.lane, t) + lane.channel);
        }
        walk.move(t, t >= W ? lane.id(t - W) : 0);
        lane.row(t - W, walk.tap[0]);
    }
}

/// The rows [lo, hi) of one lane and N channels; leaves the sums of the parameters' gradients.
template <class T, int W, int N, bool HasSegment>
__device__ __forceinline__ void conv_backward_run(const ConvGradParams<T>& p,
                                                  std::int64_t b,
                                                  std::int64_t channel,
                                                  std::int64_t lo,
                                                  std::int64_t hi,
                                                  ConvBackwardWalk<T, W, N, HasSegment>& walk) {
    const std::int64_t valid = valid_length(p.in.valid, b, p.in.length);
    const std::int64_t begin = min(lo, valid);
    const std::int64_t stop = min(hi, valid);
    const std::int64_t end = min(stop + W - 1, valid);
    const ConvLane<T, W, N, HasSegment> lane(p.in, b, channel);
    const std::int64_t state = b * (W - 1) * p.in.channels + channel;
    walk.start(lane, end - 1,
               p.dstate_out != nullptr && end == valid ? p.dstate_out + state : nullptr);
    conv_backward_rows(p, lane, end - 1, stop, stop, walk);
    std::int64_t t = stop - 1;
    const std::int64_t last = max(begin, std::int64_t{W}) + kConvBatch - 1;  // of a whole batch
    T* dx = p.dx.row(b, t) + channel;
    ConvBackwardBatch<T, N> batch;
    if (t >= last) {
        batch.fetch(lane, p.dy.row(b, t) + channel, p.dy.row_stride, t - W);
    }
    while (t >= last) {
        const ConvBackwardBatch<T, N> now = batch;
        // The last batch again at the end: without a branch the loads stay above the arithmetic.
        const std::int64_t next = t - kConvBatch >= last ? t - kConvBatch : t;
        batch.fetch(lane, p.dy.row(b, next) + channel, p.dy.row_stride, next - W);
#pragma unroll
        for (int i = 0; i < kConvBatch; ++i, --t) {
            walk.template step<true>(lane, now.dy[i], dx);
            walk.move(t, now.id[i]);
            Pack<T, N>::unpack(now.x[i], walk.tap[0]);
            dx -= p.dx.row_stride;
        }
    }
    conv_backward_rows(p, lane, t, begin, stop, walk);
    constexpr float kZeros[N] = {};
    for (t = max(lo, valid); t < hi; ++t) {
        store(p.dx.row(b, t) + channel, kZeros);
    }
#pragma unroll
    for (int k = 0; k + 1 < W; ++k) {
#pragma unroll
        for (int i = 0; i < N; ++i) {
            if (lo == 0 && p.dstate_in != nullptr) {
                p.dstate_in[state + (W - 2 - k) * p.in.channels + i] = walk.pending[k][i];
            }
        }
    }
}

/// A block has kConvPart rows of 32·N channels; its runs' sums for the parameters are added from
/// left to right.
template <class T, int W, int N, bool HasSegment>
__global__ __launch_bounds__(
    kWarp* kConvBackwardRuns,
    kConvBackwardBlocks<N>) void causal_conv1d_backward_kernel(ConvGradParams<T> p) {
    __shared__ float sums[kConvBackwardRuns][W + 1][N][kWarp];
    const std::int64_t b = blockIdx.x / p.lane_parts;
    const std::int64_t lo =
        static_cast<std::int64_t>(blockIdx.x % p.lane_parts) * kConvPart + threadIdx.y * kConvRun;
    const std::int64_t first_channel = static_cast<std::int64_t>(blockIdx.y) * kWarp * N;
    const std::int64_t channel = first_channel + threadIdx.x * N;
    const std::int64_t channels = p.in.channels;
    ConvBackwardWalk<T, W, N, HasSegment> walk{};
    if (channel < channels && (lo < p.in.length || lo == 0)) {
        conv_backward_run(p, b, channel, lo, min(lo + kConvRun, p.in.length), walk);
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
#pragma unroll
        for (int w = 0; w < W; ++w) {
            sums[threadIdx.y][w][i][threadIdx.x] = walk.dweight[w][i];
        }
        sums[threadIdx.y][W][i][threadIdx.x] = walk.dbias[i];
    }
    __syncthreads();
    float* const out = p.parts + blockIdx.x * channels * (W + 1);
    const int thread = static_cast<int>(threadIdx.y * kWarp + threadIdx.x);
    for (int at = thread; at < (W + 1) * N * kWarp; at += kWarp * kConvBackwardRuns) {
        const int w = at / (N * kWarp);
        const std::int64_t to = first_channel + at % kWarp * N + at / kWarp % N;
        if (to < channels) {
            float sum = 0.0F;
            for (int run = 0; run < kConvBackwardRuns; ++run) {
                sum += sums[run][w][at / kWarp % N][at % kWarp];
            }
            out[w < W ? to * W + w : channels * W + to] = sum;
        }
    }
}

}  // namespace mambase::cuda
