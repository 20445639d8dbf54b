// Selective scan, forward, channels last.
// Over 500 lines because it is a workshop still: to be split when the launcher is written.
//
// The length is cut in tiles of kScanTile positions counted from the call's first row. Pass 1
// leaves each tile's own end state (from a zero start) and its Σ delta; the combine pass turns
// them, left to right, into the state at each tile's start; pass 2 scans every tile from there. A
// thread owns one or two neighbouring channels with all their states in registers; b and c of 32
// positions lie in shared memory for all channels of the block.
//
// Pass 1 walks a tile from its right end and stops a group of states where exp(A·Σdelta) to the
// tile's end is below 2^-kVanished: what lies further left adds nothing that f32 can hold. With
// delta as at initialisation that is a small part of the tile, so splitting the length does not
// double the exponentials.
#pragma once

#include "kernels/cuda/device/math.cuh"

#include <cuda_runtime.h>

namespace mambase::cuda {

constexpr int kScanTile = 2048;
constexpr int kScanThreads = 128;
constexpr int kKept = 8;        // forward keeps the state before every eighth position for backward
constexpr int kScanBlocks = 3;  // a multiprocessor, of two channels a thread
constexpr int kScanStage = 32;  // positions of b and c staged at once
constexpr float kVanished = 26.0F;
constexpr int kEndThreads = 256;
constexpr int kEndWindow = 2 * kEndThreads;  // channels of a block of pass 1
constexpr int kEndStage = 16;                // positions staged at once

/// Rows are [batch][position] with the last dimension adjacent; strides in elements.
template <class T>
struct Rows {
    T* data = nullptr;
    std::int64_t batch_stride = 0;
    std::int64_t row_stride = 0;
    __device__ __forceinline__ T* row(std::int64_t b, std::int64_t t) const {
        return data + b * batch_stride + t * row_stride;
    }
};

template <class T>
struct ScanParams {
    Rows<const T> x, dt_raw, z, b, c;  // z.data may be null
    Rows<T> y;
    const float* a_log;           // [E,N]
    const float* d;               // [E]
    const float* dt_bias;         // [E]
    const std::int32_t* segment;  // [B,T] or null
    const std::int64_t* valid;    // [B] or null
    const float* state_in;        // [B,E,N] or null
    float* state_out;             // [B,E,N] or null
    float* kept = nullptr;  // [B, ceil(T/kKept), E, N] or null: the state before position kKept·i
    float* tile_state;  // [B,tiles,E,N]: pass 1: end states; after combine: start states. null: one
                        // tile
    float* tile_delta;  // [B,tiles,E]: Σ delta
    std::int64_t length;
    std::int64_t segment_stride;
    int tiles;
    int inner;
    int states;  // N as given; the kernel's N is at least this
};

template <class T>
__device__ __forceinline__ std::int64_t valid_length(const ScanParams<T>& p, int b) {
    return p.valid != nullptr ? min(p.valid[b], p.length) : p.length;
}

template <class T, int N, int Channels>
__device__ __forceinline__ void load_decay(const ScanParams<T>& p,
                                           int channel,
                                           float (&a2)[Channels][N]) {
#pragma unroll
    for (int k = 0; k < Channels; ++k) {
#pragma unroll
        for (int n = 0; n < N; ++n) {
            a2[k][n] =
                n < p.states
                    ? -expf(p.a_log[static_cast<std::int64_t>(channel + k) * p.states + n]) * kLog2e
                    : 0.0F;
        }
    }
}

/// Copies 16 bytes to shared memory without a register; completes at the matching wait.
__device__ __forceinline__ void copy_async_16(void* to, const void* from) {
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from));
}
__device__ __forceinline__ void copy_async_commit() {
    asm volatile("cp.async.commit_group;");
}
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending));
}

template <class T>
struct EndStage {
    T x[kEndStage][kEndWindow];
    T dt[kEndStage][kEndWindow];
};

/// Bytes of dynamic shared memory of the pass-1 kernel.
template <class T, int N>
constexpr int end_shared_bytes() {
    return static_cast<int>(2 * sizeof(EndStage<T>) + 2 * kEndStage * N * sizeof(float));
}

/// Pass 1. A block owns a tile of kEndWindow channels. Its threads take the channels in the order
/// of their dt_bias, so that a warp's channels forget at about the same pace and stop together.
template <class T, int N, bool kVector>
__global__ void __launch_bounds__(kEndThreads, 2) selective_scan_tile_end_kernel(ScanParams<T> p) {
    constexpr int kGroup = 4;
    constexpr int kGroups = N / kGroup;
    constexpr int kPerVector = 16 / static_cast<int>(sizeof(T));
    extern __shared__ __align__(16) unsigned char shared[];
    EndStage<T>* const stages = reinterpret_cast<EndStage<T>*>(shared);
    float(*const b_stage)[kEndStage][N] =
        reinterpret_cast<float(*)[kEndStage][N]>(shared + 2 * sizeof(EndStage<T>));
    const int tile = static_cast<int>(blockIdx.x);
    const int b = static_cast<int>(blockIdx.z);
    const int window = static_cast<int>(blockIdx.y) * kEndWindow;
    const int channels = min(kEndWindow, p.inner - window);
    const std::int64_t begin = static_cast<std::int64_t>(tile) * kScanTile;
    const std::int64_t end = begin + kScanTile;  // never the last tile, which nothing follows
    if (end > valid_length(p, b)) {
        return;  // what follows the tile with the lane's end is never read
    }
    // Order of the window's channels by dt_bias; equals keep theirs.
    float* const key = reinterpret_cast<float*>(shared);
    short* const order = reinterpret_cast<short*>(shared + kEndWindow * sizeof(float));
    for (int i = threadIdx.x; i < channels; i += kEndThreads) {
        key[i] = p.dt_bias[window + i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < channels; i += kEndThreads) {
        int rank = 0;
        const float mine = key[i];
        for (int j = 0; j < channels; ++j) {
            rank += key[j] < mine || (key[j] == mine && j < i) ? 1 : 0;
        }
        order[rank] = static_cast<short>(i);
    }
    __syncthreads();
    int channel[2];
    bool mine[2];
    float bias[2];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const int at = 2 * static_cast<int>(threadIdx.x) + k;
        mine[k] = at < channels;
        channel[k] = mine[k] ? order[at] : 0;
        bias[k] = p.dt_bias[window + channel[k]];
    }
    __syncthreads();
    float a2[2][N];
    float h[2][N] = {};
    float slowest[2][kGroups];
    float sum[2] = {};
#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
            slowest[k][g] = -1e30F;
#pragma unroll
            for (int n = g * kGroup; n < (g + 1) * kGroup; ++n) {
                a2[k][n] =
                    n < p.states
                        ? -expf(p.a_log[static_cast<std::int64_t>(window + channel[k]) * p.states +
                                        n]) *
                              kLog2e
                        : 0.0F;
                if (n < p.states && mine[k]) {
                    slowest[k][g] = fmaxf(slowest[k][g], a2[k][n]);
                }
            }
        }
    }
    const auto fetch = [&](int s) {
        EndStage<T>& stage = stages[s % 2];
        const std::int64_t first = end - static_cast<std::int64_t>(s + 1) * kEndStage;
        if constexpr (kVector) {
            const int vectors = channels / kPerVector;
            for (int i = threadIdx.x; i < kEndStage * vectors; i += kEndThreads) {
                const int row = i / vectors;
                const int column = i % vectors * kPerVector;
                copy_async_16(&stage.x[row][column], p.x.row(b, first + row) + window + column);
                copy_async_16(&stage.dt[row][column],
                              p.dt_raw.row(b, first + row) + window + column);
            }
        } else {
            for (int i = threadIdx.x; i < kEndStage * channels; i += kEndThreads) {
                const int row = i / channels;
                const int column = i % channels;
                stage.x[row][column] = p.x.row(b, first + row)[window + column];
                stage.dt[row][column] = p.dt_raw.row(b, first + row)[window + column];
            }
        }
        for (int i = threadIdx.x; i < kEndStage * N; i += kEndThreads) {
            b_stage[s % 2][i / N][i % N] =
                i % N < p.states ? to_float(p.b.row(b, first + i / N)[i % N]) : 0.0F;
        }
        copy_async_commit();
    };
    constexpr int kStages = kScanTile / kEndStage;
    bool stop = false;
    fetch(0);
    for (int s = 0; s < kStages; ++s) {
        unsigned live = 0;  // groups of states that still count, for the whole warp
        if (!stop) {
#pragma unroll
            for (int g = 0; g < kGroups; ++g) {
                const bool any =
                    sum[0] * slowest[0][g] > -kVanished || sum[1] * slowest[1][g] > -kVanished;
                live |= __any_sync(0xffffffffU, any) ? 1U << g : 0U;
            }
        }
        copy_async_wait<0>();
        if (__syncthreads_or(live != 0 ? 1 : 0) == 0) {
            break;
        }
        if (s + 1 < kStages) {
            fetch(s + 1);
        }
        if (live == 0) {
            continue;
        }
        const EndStage<T>& stage = stages[s % 2];
        const std::int64_t first = end - static_cast<std::int64_t>(s + 1) * kEndStage;
#pragma unroll 4
        for (int i = kEndStage - 1; i >= 0; --i) {
            if (p.segment != nullptr && first + i + 1 < end) {
                const std::int32_t* const ids = p.segment + b * p.segment_stride + first + i;
                if (ids[0] != ids[1]) {
                    sum[0] = sum[1] = 1e30F;
                    stop = true;
                    break;
                }
            }
            float dx[2];
            float delta[2];
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                delta[k] = softplus(to_float(stage.dt[i][channel[k]]) + bias[k]);
                dx[k] = delta[k] * to_float(stage.x[i][channel[k]]);
            }
#pragma unroll
            for (int g = 0; g < kGroups; ++g) {
                if ((live >> g & 1U) != 0) {
                    const float4 b4 =
                        *reinterpret_cast<const float4*>(&b_stage[s % 2][i][g * kGroup]);
                    const float bs[kGroup] = {b4.x, b4.y, b4.z, b4.w};
#pragma unroll
                    for (int k = 0; k < 2; ++k) {
#pragma unroll
                        for (int n = 0; n < kGroup; ++n) {
                            float& state = h[k][g * kGroup + n];
                            state = fmaf(exp2_approx(sum[k] * a2[k][g * kGroup + n]), bs[n] * dx[k],
                                         state);
                        }
                    }
                }
            }
            sum[0] += delta[0];
            sum[1] += delta[1];
        }
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        if (mine[k]) {
            const std::int64_t at =
                (static_cast<std::int64_t>(b) * p.tiles + tile) * p.inner + window + channel[k];
            p.tile_delta[at] = sum[k];
#pragma unroll
            for (int n = 0; n < N; ++n) {
                if (n < p.states) {
                    p.tile_state[at * p.states + n] = h[k][n];
                }
            }
        }
    }
}

/// One thread a (lane, channel, state): end states of the tiles become the states at their starts.
template <class T>
__global__ void __launch_bounds__(256) selective_scan_combine_kernel(ScanParams<T> p, int batch) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * 256 + threadIdx.x;
    const std::int64_t lane_states = static_cast<std::int64_t>(p.inner) * p.states;
    if (i >= batch * lane_states) {
        return;
    }
    const std::int64_t b = i / lane_states;
    const std::int64_t en = i % lane_states;
    const std::int64_t e = en / p.states;
    const float a2 = -expf(p.a_log[en]) * kLog2e;
    float h = p.state_in != nullptr ? p.state_in[b * lane_states + en] : 0.0F;
    float* const state = p.tile_state + b * p.tiles * lane_states + en;
    const float* const delta = p.tile_delta + b * p.tiles * p.inner + e;
    constexpr int kAhead = 8;  // loads in flight: the chain itself is short
    for (int first = 0; first < p.tiles; first += kAhead) {
        float ends[kAhead];
        float sums[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            const bool there = first + k + 1 < p.tiles;
            ends[k] = there ? state[(first + k) * lane_states] : 0.0F;
            sums[k] = there ? delta[static_cast<std::int64_t>(first + k) * p.inner] : 0.0F;
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            if (first + k < p.tiles) {
                state[(first + k) * lane_states] = h;
                h = fmaf(exp2_approx(a2 * sums[k]), h, ends[k]);
            }
        }
    }
}

template <class T, int N, int Channels, bool kGate, bool kPacked, bool kKeep = false>
__global__ void __launch_bounds__(kScanThreads, Channels == 2 ? kScanBlocks : kScanBlocks + 1)
    selective_scan_forward_kernel(ScanParams<T> p) {
    using P = Pack<T, Channels>;
    using Raw = typename P::Raw;
    constexpr int kAhead = 4;  // positions whose loads are in flight
    constexpr int kRow = 2 * N;
    __shared__ float stage[2][kScanStage][kRow];
    const int tile = static_cast<int>(blockIdx.x);
    const int b = static_cast<int>(blockIdx.z);
    const int channel = static_cast<int>(blockIdx.y * kScanThreads + threadIdx.x) * Channels;
    const bool mine = channel < p.inner;
    const std::int64_t begin = static_cast<std::int64_t>(tile) * kScanTile;
    const std::int64_t tile_end = min(begin + kScanTile, p.length);
    const std::int64_t lane_end = valid_length(p, b);
    const std::int64_t end = min(tile_end, lane_end);
    const int count = static_cast<int>(max(end - begin, static_cast<std::int64_t>(0)));
    float a2[Channels][N];
    float h[Channels][N] = {};
    float bias[Channels];
    float skip[Channels];
    if (mine) {
        load_decay<T, N, Channels>(p, channel, a2);
        const float* const start =
            p.tile_state != nullptr
                ? p.tile_state +
                      ((static_cast<std::int64_t>(b) * p.tiles + tile) * p.inner + channel) *
                          p.states
                : (p.state_in != nullptr
                       ? p.state_in + (static_cast<std::int64_t>(b) * p.inner + channel) * p.states
                       : nullptr);
#pragma unroll
        for (int k = 0; k < Channels; ++k) {
            bias[k] = p.dt_bias[channel + k];
            skip[k] = p.d[channel + k];
#pragma unroll
            for (int n = 0; n < N; ++n) {
                h[k][n] = start != nullptr && n < p.states ? start[k * p.states + n] : 0.0F;
            }
        }
    }
    Raw x_next[kAhead];
    Raw dt_next[kAhead];
    Raw z_next[kAhead];
    const T* x_row = p.x.row(b, begin) + channel;
    const T* dt_row = p.dt_raw.row(b, begin) + channel;
    const T* z_row = kGate ? p.z.row(b, begin) + channel : nullptr;
    T* y_row = p.y.row(b, begin) + channel;
    const auto fetch = [&](int first) {
#pragma unroll
        for (int j = 0; j < kAhead; ++j) {
            if (mine && first + j < count) {
                x_next[j] = *reinterpret_cast<const Raw*>(x_row);
                dt_next[j] = *reinterpret_cast<const Raw*>(dt_row);
                x_row += p.x.row_stride;
                dt_row += p.dt_raw.row_stride;
                if constexpr (kGate) {
                    z_next[j] = *reinterpret_cast<const Raw*>(z_row);
                    z_row += p.z.row_stride;
                }
            }
        }
    };
    fetch(0);
    for (int stage_begin = 0; stage_begin < count; stage_begin += kScanStage) {
        float(*const now)[kRow] = stage[stage_begin / kScanStage % 2];
        // Two stages in turn: one barrier each. Prefetching b and c to registers as well made them
        // spill.
        for (int i = threadIdx.x; i < kScanStage * kRow; i += kScanThreads) {
            const int t = stage_begin + i / kRow;
            const int column = i % kRow;
            const int n = column < N ? column : column - N;
            now[i / kRow][column] = t < count && n < p.states
                                        ? to_float((column < N ? p.b : p.c).row(b, begin + t)[n])
                                        : 0.0F;
        }
        __syncthreads();
        if (!mine) {
            continue;
        }
        const int stage_end = min(kScanStage, count - stage_begin);
        for (int first = 0; first < stage_end; first += kAhead) {
            Raw x_raw[kAhead];
            Raw dt_raw[kAhead];
            Raw z_raw[kAhead];
#pragma unroll
            for (int j = 0; j < kAhead; ++j) {
                x_raw[j] = x_next[j];
                dt_raw[j] = dt_next[j];
                if constexpr (kGate) {
                    z_raw[j] = z_next[j];
                }
            }
            fetch(stage_begin + first + kAhead);
#pragma unroll
            for (int j = 0; j < kAhead; ++j) {
                if (first + j >= stage_end) {
                    break;
                }
                if constexpr (kPacked) {
                    const std::int64_t t = begin + stage_begin + first + j;
                    const std::int32_t* const ids = p.segment + b * p.segment_stride + t;
                    if (t > 0 && ids[0] != ids[-1]) {
#pragma unroll
                        for (int k = 0; k < Channels; ++k) {
#pragma unroll
                            for (int n = 0; n < N; ++n) {
                                h[k][n] = 0.0F;
                            }
                        }
                    }
                }
                if constexpr (kKeep) {
                    if (j == 0 && (stage_begin + first) % kKept == 0) {
                        const std::int64_t at = (begin + stage_begin + first) / kKept;
                        float* const to =
                            p.kept +
                            ((b * ((p.length + kKept - 1) / kKept) + at) * p.inner + channel) * N;
#pragma unroll
                        for (int k = 0; k < Channels; ++k) {
#pragma unroll
                            for (int n = 0; n < N; n += 4) {
                                *reinterpret_cast<float4*>(to + k * N + n) =
                                    make_float4(h[k][n], h[k][n + 1], h[k][n + 2], h[k][n + 3]);
                            }
                        }
                    }
                }
                float x[Channels];
                float r[Channels];
                P::unpack(x_raw[j], x);
                P::unpack(dt_raw[j], r);
                float delta[Channels];
                float dx[Channels];
                float out[Channels];
#pragma unroll
                for (int k = 0; k < Channels; ++k) {
                    delta[k] = softplus(r[k] + bias[k]);
                    dx[k] = delta[k] * x[k];
                    out[k] = skip[k] * x[k];
                }
                const float* const row = now[first + j];
#pragma unroll
                for (int n = 0; n < N; n += 4) {
                    const float4 b4 = *reinterpret_cast<const float4*>(row + n);
                    const float4 c4 = *reinterpret_cast<const float4*>(row + N + n);
                    const float bs[4] = {b4.x, b4.y, b4.z, b4.w};
                    const float cs[4] = {c4.x, c4.y, c4.z, c4.w};
#pragma unroll
                    for (int k = 0; k < Channels; ++k) {
#pragma unroll
                        for (int m = 0; m < 4; ++m) {
                            float& state = h[k][n + m];
                            const float decay = exp2_approx(delta[k] * a2[k][n + m]);
                            state = fmaf(decay, state, bs[m] * dx[k]);
                            out[k] = fmaf(cs[m], state, out[k]);
                        }
                    }
                }
                if constexpr (kGate) {
                    float z[Channels];
                    P::unpack(z_raw[j], z);
#pragma unroll
                    for (int k = 0; k < Channels; ++k) {
                        out[k] *= z[k] * sigmoid(z[k]);
                    }
                }
                *reinterpret_cast<Raw*>(y_row) = P::pack(out);
                y_row += p.y.row_stride;
            }
        }
    }
    if (!mine) {
        return;
    }
    const float zero[Channels] = {};
    for (std::int64_t t = max(begin, lane_end); t < tile_end; ++t) {
        *reinterpret_cast<Raw*>(p.y.row(b, t) + channel) = P::pack(zero);
    }
    // The lane's last tile holds its end; a lane of no positions passes its state on.
    const bool last =
        lane_end > 0 ? (begin < lane_end && lane_end <= begin + kScanTile) : tile == 0;
    if (p.state_out != nullptr && last) {
        float* const out =
            p.state_out + (static_cast<std::int64_t>(b) * p.inner + channel) * p.states;
#pragma unroll
        for (int k = 0; k < Channels; ++k) {
#pragma unroll
            for (int n = 0; n < N; ++n) {
                if (n < p.states) {
                    out[k * p.states + n] = h[k][n];
                }
            }
        }
    }
}

}  // namespace mambase::cuda
