// Causal depthwise convolution and SiLU. A thread owns N neighbouring channels and walks a run of
// positions with the W − 1 inputs beside it in registers, so that an input is read once but at the
// ends of runs: forward from left to right, backward from right to left. What it reads is under way
// to its own places in shared memory kAhead rows before it is used; loads into registers would be
// moved down to their use by the compiler, and wait there.
#pragma once

#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/rows.cuh"

namespace mambase::cuda {

constexpr int kConvForwardRuns = 4;   // of a block; a warp each
constexpr int kConvBackwardRuns = 8;  //
constexpr int kConvRun = 128;         // positions of a run of the backward; forward: at most
constexpr int kConvPart = kConvBackwardRuns * kConvRun;
constexpr int kConvRing = 8;  // rows of a thread in shared memory
constexpr int kConvAhead = kConvRing - 1;
constexpr int kConvBorders = kConvRun / 32 + 2;  // words of borders of a run

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

/// The last rows that a thread has asked for. It reads only what it copied itself.
template <class T, int N, int Threads>
struct ConvRing {
    static constexpr bool kIsAsync = sizeof(Raw<T, N>) >= 4;  // else there is no such copy

    Raw<T, N>* slots;  // [kConvRing][Threads], from this thread's first

    __device__ __forceinline__ void ask(int i, const T* from) {
        if constexpr (kIsAsync) {
            const auto to =
                static_cast<unsigned>(__cvta_generic_to_shared(slots + i % kConvRing * Threads));
            asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from),
                         "n"(sizeof(Raw<T, N>))
                         : "memory");
        }
    }
    __device__ __forceinline__ Raw<T, N> take(int i, const T* from) const {
        if constexpr (kIsAsync) {
            return slots[i % kConvRing * Threads];
        } else {
            return load_raw<N>(from);
        }
    }
};

/// By a whole warp: bit i of the words says whether rows before row `first` + i are out of sight
/// from it on.
__device__ __forceinline__ void find_borders(const std::int32_t* segment,
                                             std::int64_t first,
                                             std::int64_t length,
                                             unsigned* words) {
#pragma unroll
    for (int word = 0; word < kConvBorders; ++word) {
        const std::int64_t t = first + word * 32 + threadIdx.x;
        const bool is_border = t > 0 && t < length && segment[t] != segment[t - 1];
        const unsigned bits = __ballot_sync(0xffffffffU, is_border);
        if (threadIdx.x == 0) {
            words[word] = bits;
        }
    }
    __syncwarp();
}

/// One lane and N channels of it, as their thread sees them. Without HasSegment no row is out of
/// another's sight.
template <class T, int W, int N, bool HasSegment>
struct ConvLane {
    LaneRows<const T> x;
    const float* state;       // of the first channel; null: zeros
    const unsigned* borders;  // from row first_border on
    std::int64_t first_border;
    std::int64_t lane, channel, channels;
    float weight[W][N];
    float bias[N];

    __device__ __forceinline__ ConvLane(const ConvInputs<T>& in,
                                        std::int64_t at_lane,
                                        std::int64_t at_channel,
                                        const unsigned* border_words,
                                        std::int64_t first_border_row)
        : x(in.x),
          state(in.state_in == nullptr
                    ? nullptr
                    : in.state_in + at_lane * (W - 1) * in.channels + at_channel),
          borders(border_words),
          first_border(first_border_row),
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

    __device__ __forceinline__ const T* at(std::int64_t t) const {
        return x.row(lane, t) + channel;
    }
    /// Row t, of the state for t < 0.
    __device__ __forceinline__ void row(std::int64_t t, float (&out)[N]) const {
        if (t >= 0) {
            load(at(t), out);
            return;
        }
#pragma unroll
        for (int i = 0; i < N; ++i) {
            out[i] = t > -W && state != nullptr ? __ldg(state + (t + W - 1) * channels + i) : 0.0F;
        }
    }
    /// Bit i: whether rows before t + i are out of sight from t + i on; for at least W bits.
    __device__ __forceinline__ unsigned borders_from(std::int64_t t) const {
        if constexpr (HasSegment) {
            const auto i = static_cast<unsigned>(t - first_border);
            return __funnelshift_r(borders[i / 32], borders[i / 32 + 1], i % 32);
        }
        return 0;
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
                                                  std::int64_t t,
                                                  Raw<T, N> raw,
                                                  float (&tap)[W][N],
                                                  T* y) {
    const bool is_border = (lane.borders_from(t) & 1U) != 0;
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
    const unsigned borders = lane.borders_from(t - W);
#pragma unroll
    for (int w = 1; w < W; ++w) {
        lane.row(t - W + w, tap[w]);
        const bool is_border = (borders >> w & 1U) != 0;
#pragma unroll
        for (int older = 1; older < w; ++older) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                tap[older][i] = HasSegment && is_border ? 0.0F : tap[older][i];
            }
        }
    }
}

template <class T, int W, int N, bool HasSegment>
__global__ __launch_bounds__(kWarp* kConvForwardRuns) void causal_conv1d_forward_kernel(
    ConvParams<T> p) {
    __shared__ Raw<T, N> rows[kConvRing][kConvForwardRuns][kWarp];
    __shared__ unsigned borders[kConvForwardRuns][kConvBorders];
    const ConvInputs<T>& in = p.in;
    const std::int64_t b = blockIdx.x / p.lane_blocks;
    const std::int64_t run =
        static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kConvForwardRuns + threadIdx.y;
    const std::int64_t channel = (static_cast<std::int64_t>(blockIdx.y) * kWarp + threadIdx.x) * N;
    const std::int64_t lo = run * p.run;
    if (HasSegment) {
        find_borders(in.segment + b * in.segment_stride, lo - W, in.length, borders[threadIdx.y]);
    }
    if (channel >= in.channels || lo >= in.length) {
        return;
    }
    const std::int64_t hi = min(lo + p.run, in.length);
    const std::int64_t stop = max(lo, min(hi, valid_length(in.valid, b, in.length)));
    const ConvLane<T, W, N, HasSegment> lane(in, b, channel, borders[threadIdx.y], lo - W);
    ConvRing<T, N, kConvForwardRuns * kWarp> ring{&rows[0][threadIdx.y][threadIdx.x]};
    const auto count = static_cast<int>(stop - lo);
#pragma unroll
    for (int i = 0; i < kConvAhead; ++i) {
        if (i < count) {
            ring.ask(i, lane.at(lo + i));
        }
        copy_async_commit();
    }
    float tap[W][N];
    conv_forward_taps(lane, lo, tap);
    T* y = p.y.row(b, lo) + channel;
#pragma unroll 4
    for (int i = 0; i < count; ++i, y += p.y.row_stride) {
        copy_async_wait<kConvAhead - 1>();
        const Raw<T, N> raw = ring.take(i, lane.at(lo + i));
        if (i + kConvAhead < count) {
            ring.ask(i + kConvAhead, lane.at(lo + i + kConvAhead));
        }
        copy_async_commit();
        conv_forward_step(lane, lo + i, raw, tap, y);
    }
    constexpr float kZeros[N] = {};
    for (std::int64_t t = stop; t < hi; ++t, y += p.y.row_stride) {
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

    /// To stand at row t. The pending gradients are those of dstate_out's entries, the newest
    /// first, where `dstate` is given.
    __device__ __forceinline__ void start(const Lane& lane, std::int64_t t, const float* dstate) {
#pragma unroll
        for (int w = 0; w < W; ++w) {
            lane.row(t - (W - 1) + w, tap[w]);
        }
#pragma unroll
        for (int k = 0; k + 1 < W; ++k) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                pending[k][i] = dstate == nullptr ? 0.0F : dstate[(W - 2 - k) * lane.channels + i];
            }
        }
    }

    /// Row t. A row's gradient is one chain from its rightmost part, across calls too.
    __device__ __forceinline__ void step(
        const Lane& lane, std::int64_t t, Raw<T, N> raw_dy, bool is_inside, T* dx) {
        float dy[N];
        float out[N];
        Pack<T, N>::unpack(raw_dy, dy);
        const unsigned borders = lane.borders_from(t - W + 1);  // bit w: before the row of tap w
#pragma unroll
        for (int i = 0; i < N; ++i) {
            float seen[W];
            bool is_seen = true;
#pragma unroll
            for (int w = W - 1; w >= 0; --w) {
                seen[w] = !HasSegment || is_seen ? tap[w][i] : 0.0F;
                is_seen = is_seen && (borders >> w & 1U) == 0;
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
                pending[k][i] = HasSegment && (borders >> (W - 1) & 1U) != 0 ? 0.0F : next;
            }
            const float counted = is_inside ? dsum : 0.0F;
#pragma unroll
            for (int w = 0; w < W; ++w) {
                dweight[w][i] = fmaf(counted, seen[w], dweight[w][i]);
            }
            dbias[i] += counted;
        }
        if (is_inside) {
            store(dx, out);
        }
    }

    /// From row t to t − 1; tap[0] is then to be filled with row t − W.
    __device__ __forceinline__ void move() {
#pragma unroll
        for (int w = W - 1; w > 0; --w) {
#pragma unroll
            for (int i = 0; i < N; ++i) {
                tap[w][i] = tap[w - 1][i];
            }
        }
    }
};

/// The rows [lo, hi) of one lane and N channels; leaves the sums of the parameters' gradients. The
/// rows right of hi that see into the run are walked too, without a trace in dx and those sums.
template <class T, int W, int N, bool HasSegment, int Threads>
__device__ __forceinline__ void conv_backward_run(const ConvGradParams<T>& p,
                                                  const ConvLane<T, W, N, HasSegment>& lane,
                                                  std::int64_t lo,
                                                  std::int64_t hi,
                                                  ConvRing<T, N, Threads> ring_x,
                                                  ConvRing<T, N, Threads> ring_dy,
                                                  ConvBackwardWalk<T, W, N, HasSegment>& walk) {
    const std::int64_t b = lane.lane;
    const std::int64_t valid = valid_length(p.in.valid, b, p.in.length);
    const std::int64_t begin = min(lo, valid);
    const std::int64_t stop = min(hi, valid);
    const std::int64_t end = min(stop + W - 1, valid);
    const std::int64_t state = b * (W - 1) * p.in.channels + lane.channel;
    const auto count = static_cast<int>(end - begin);
    const auto dy_at = [&](std::int64_t t) { return p.dy.row(b, t) + lane.channel; };
    const auto ask = [&](int i) {
        const std::int64_t t = end - 1 - i;
        if (i < count) {
            ring_dy.ask(i, dy_at(t));
            if (t >= W) {
                ring_x.ask(i, lane.at(t - W));
            }
        }
        copy_async_commit();
    };
#pragma unroll
    for (int i = 0; i < kConvAhead; ++i) {
        ask(i);
    }
    walk.start(lane, end - 1,
               p.dstate_out != nullptr && end == valid ? p.dstate_out + state : nullptr);
#pragma unroll 4
    for (int i = 0; i < count; ++i) {
        const std::int64_t t = end - 1 - i;
        copy_async_wait<kConvAhead - 1>();
        const Raw<T, N> dy = ring_dy.take(i, dy_at(t));
        walk.step(lane, t, dy, t < stop, p.dx.row(b, t) + lane.channel);
        walk.move();
        if (t >= W) {
            Pack<T, N>::unpack(ring_x.take(i, lane.at(t - W)), walk.tap[0]);
        } else {
            lane.row(t - W, walk.tap[0]);
        }
        ask(i + kConvAhead);
    }
    constexpr float kZeros[N] = {};
    for (std::int64_t t = max(lo, valid); t < hi; ++t) {
        store(p.dx.row(b, t) + lane.channel, kZeros);
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

/// What a block of the backward has in shared memory: first rows under way, then sums.
template <class T, int W, int N>
union ConvBackwardShared {
    struct {
        Raw<T, N> x[kConvRing][kConvBackwardRuns][kWarp];
        Raw<T, N> dy[kConvRing][kConvBackwardRuns][kWarp];
    } rows;
    float sums[kConvBackwardRuns][W + 1][N][kWarp];
};

/// A block has kConvPart rows of 32·N channels; its runs' sums for the parameters are added from
/// left to right.
template <class T, int W, int N, bool HasSegment>
__global__ __launch_bounds__(kWarp* kConvBackwardRuns,
                             2) void causal_conv1d_backward_kernel(ConvGradParams<T> p) {
    __shared__ alignas(16) unsigned char memory[sizeof(ConvBackwardShared<T, W, N>)];
    __shared__ unsigned borders[kConvBackwardRuns][kConvBorders];
    auto& shared = *reinterpret_cast<ConvBackwardShared<T, W, N>*>(memory);
    const std::int64_t b = blockIdx.x / p.lane_parts;
    const std::int64_t lo =
        static_cast<std::int64_t>(blockIdx.x % p.lane_parts) * kConvPart + threadIdx.y * kConvRun;
    const std::int64_t first_channel = static_cast<std::int64_t>(blockIdx.y) * kWarp * N;
    const std::int64_t channel = first_channel + threadIdx.x * N;
    const std::int64_t channels = p.in.channels;
    if (HasSegment) {
        find_borders(p.in.segment + b * p.in.segment_stride, lo - W, p.in.length,
                     borders[threadIdx.y]);
    }
    ConvBackwardWalk<T, W, N, HasSegment> walk{};
    if (channel < channels && (lo < p.in.length || lo == 0)) {
        const ConvLane<T, W, N, HasSegment> lane(p.in, b, channel, borders[threadIdx.y], lo - W);
        using Ring = ConvRing<T, N, kConvBackwardRuns * kWarp>;
        conv_backward_run(p, lane, lo, min(lo + kConvRun, p.in.length),
                          Ring{&shared.rows.x[0][threadIdx.y][threadIdx.x]},
                          Ring{&shared.rows.dy[0][threadIdx.y][threadIdx.x]}, walk);
    }
    copy_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < N; ++i) {
#pragma unroll
        for (int w = 0; w < W; ++w) {
            shared.sums[threadIdx.y][w][i][threadIdx.x] = walk.dweight[w][i];
        }
        shared.sums[threadIdx.y][W][i][threadIdx.x] = walk.dbias[i];
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
                sum += shared.sums[run][w][at / kWarp % N][at % kWarp];
            }
            out[w < W ? to * W + w : channels * W + to] = sum;
        }
    }
}

}  // namespace mambase::cuda
