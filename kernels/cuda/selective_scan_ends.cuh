// Pass 1 of the selective scan over more than one tile: the state that each tile starts from.
//
// It walks a tile from its right end and stops a group of states where exp(A·Σdelta) to that end is
// below 2^-vanished<T>(): what lies further left adds nothing that f32 can hold, or next to nothing
// beside the rounding of bf16. With delta as at initialisation this leaves a sixth of the
// exponentials, so that splitting the length does not double them.
#pragma once

#include "kernels/cuda/device/ranks.cuh"
#include "kernels/cuda/selective_scan.cuh"

namespace mambase::cuda {

constexpr int kEndBatch = 4;      // positions whose delta are computed side by side
constexpr int kEndThreads = 128;  // of a block of pass 1, at most
constexpr int kEndBlocks = 4;     // a multiprocessor
constexpr int kEndRing = 3;       // stages in shared memory
constexpr int kCombineThreads = 256;

/// Channels of a thread of pass 1.
template <int N>
constexpr int end_channels() {
    return N <= 16 ? 2 : 1;
}

/// Threads of a block of pass 1: as even a share as can be.
template <int N>
constexpr int end_threads(int inner) {
    const int threads = (inner + end_channels<N>() - 1) / end_channels<N>();
    const int windows = (threads + kEndThreads - 1) / kEndThreads;
    return ((threads + windows - 1) / windows + 31) / 32 * 32;
}

/// Positions that pass 1 has in shared memory at once, kEndRing times.
template <class T, int N>
struct alignas(16) EndStage {
    static constexpr int kRows = 32 / static_cast<int>(sizeof(T));
    static constexpr int kColumns = kEndThreads * end_channels<N>();
    T x[kRows][kColumns];
    T dt[kRows][kColumns];
    T b_raw[kRows][N];
    float b[kRows][N];
    std::int32_t segment[kRows + 4];  // and that of the position after
};

/// Pass 1. A block owns a tile of a window of channels, and takes them in the order of dt_bias: a
/// warp's channels then forget at about the same pace and stop together. A warp has 32 slow ones
/// and 32 fast ones, the slowest with the fastest, so that no warp has much more to do.
template <class T, int N>
__global__ void __launch_bounds__(kEndThreads, N <= 16 ? kEndBlocks : 1)
    selective_scan_tile_end_kernel(ScanParams<T> p) {
    using Stage = EndStage<T, N>;
    constexpr int kChannels = end_channels<N>();
    constexpr int kRows = Stage::kRows;
    constexpr int kGroup = 4;
    constexpr int kGroups = N / kGroup;
    constexpr int kPer = 16 / static_cast<int>(sizeof(T));
    constexpr unsigned kAll = 0xffffffffU;
    extern __shared__ __align__(16) unsigned char shared[];
    Stage* const stages = reinterpret_cast<Stage*>(shared);
    const int thread = static_cast<int>(threadIdx.x);
    const int threads = static_cast<int>(blockDim.x);
    const int width = threads * kChannels;
    const int windows = (p.inner + width - 1) / width;
    const int window = static_cast<int>(blockIdx.x) % windows * width;
    const int tile = static_cast<int>(blockIdx.x) / windows % ended_tiles(p);
    const std::int64_t b = static_cast<int>(blockIdx.x) / windows / ended_tiles(p);
    const int channels = min(width, p.inner - window);
    // Never the last tile's end, which no tile follows.
    const std::int64_t end = static_cast<std::int64_t>(tile + 1) * p.tile;
    if (end > valid_length(p, b)) {
        return;  // what follows the tile with the lane's end is never read
    }
    float* const key = reinterpret_cast<float*>(shared);
    short* const order = reinterpret_cast<short*>(shared + width * sizeof(float));
    rank_channels(p.dt_bias + window, channels, key, order);
    int column[kChannels];
    bool mine[kChannels];
    float bias[kChannels];
    float a2[kChannels][N];
    float slowest[kChannels][kGroups];
    float h[kChannels][N] = {};
    float sum[kChannels];
#pragma unroll
    for (int k = 0; k < kChannels; ++k) {
        const int rank = paired_rank(k, thread, threads);
        mine[k] = rank < channels;
        // Who has no channel reads a column that nobody writes.
        column[k] = mine[k] ? order[rank] : rank;
        bias[k] = mine[k] ? p.dt_bias[window + column[k]] : 0.0F;
        load_decay<T, N>(p, window + column[k], a2[k]);
        sum[k] = mine[k] ? 0.0F : kForget;
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
            slowest[k][g] = -kForget;
#pragma unroll
            for (int n = g * kGroup; n < (g + 1) * kGroup; ++n) {
                slowest[k][g] = n < p.states ? fmaxf(slowest[k][g], a2[k][n]) : slowest[k][g];
            }
        }
    }
    __syncthreads();

    const int row0 = thread / (width / kPer);
    const int column0 = thread % (width / kPer) * kPer;
    const auto fetch = [&](int s) {
        Stage& stage = stages[s % kEndRing];
        const std::int64_t first = end - static_cast<std::int64_t>(s + 1) * kRows;
        if (p.wide_rows) {
            if (column0 < channels) {
#pragma unroll
                for (int i = 0; i < kRows * kChannels / kPer; ++i) {
                    const int row = row0 + i * (kPer / kChannels);
                    copy_async_16(&stage.x[row][column0],
                                  p.x.row(b, first + row) + window + column0);
                    copy_async_16(&stage.dt[row][column0],
                                  p.dt_raw.row(b, first + row) + window + column0);
                }
            }
        } else {
            for (int row = 0; row < kRows; ++row) {
                for (int i = thread; i < channels; i += threads) {
                    stage.x[row][i] = p.x.row(b, first + row)[window + i];
                    stage.dt[row][i] = p.dt_raw.row(b, first + row)[window + i];
                }
            }
        }
        for (int i = thread; i < kRows * N / kPer; i += threads) {
            const int row = i / (N / kPer);
            const int n = i % (N / kPer) * kPer;
            if (p.wide_states) {
                copy_async_16(&stage.b_raw[row][n], p.b.row(b, first + row) + n);
            } else {
                for (int m = n; m < n + kPer; ++m) {
                    stage.b_raw[row][m] = m < p.states ? p.b.row(b, first + row)[m] : T(0.0F);
                }
            }
        }
        if (p.segment != nullptr) {
            for (int i = thread; i <= kRows; i += threads) {
                // The tile's own end is no border here: the next tile's first position looks back.
                const std::int64_t t = min(first + i, end - 1);
                copy_async_4(&stage.segment[i], p.segment + b * p.segment_stride + t);
            }
        }
    };
    // By the threads that copied them.
    const auto widen_b = [&](Stage& stage) {
        for (int i = thread; i < kRows * N / kPer; i += threads) {
            const T* const from = &stage.b_raw[0][0] + i * kPer;
            float* const to = &stage.b[0][0] + i * kPer;
#pragma unroll
            for (int n = 0; n < kPer; n += 4) {
                *reinterpret_cast<float4*>(to + n) = load_shared_4(from + n);
            }
        }
    };
    const int tile_stages = p.tile / kRows;
    static_assert(kTrainingScanTile / kRows >= kEndRing);
    for (int s = 0; s + 1 < kEndRing; ++s) {
        fetch(s);
        copy_async_commit();
    }
    for (int s = 0; s < tile_stages; ++s) {
        unsigned live[kChannels] = {};  // groups of states that still count, for the whole warp
        unsigned any = 0;
#pragma unroll
        for (int k = 0; k < kChannels; ++k) {
#pragma unroll
            for (int g = 0; g < kGroups; ++g) {
                live[k] |= __any_sync(kAll, sum[k] * slowest[k][g] > -vanished<T>()) ? 1U << g : 0U;
            }
            any |= live[k];
        }
        Stage& stage = stages[s % kEndRing];
        copy_async_wait<kEndRing - 2>();
        widen_b(stage);
        if (__syncthreads_or(static_cast<int>(any)) == 0) {
            break;
        }
        if (s + kEndRing - 1 < tile_stages) {
            fetch(s + kEndRing - 1);
        }
        copy_async_commit();
        if (any == 0) {
            continue;
        }
        unsigned borders = 0;  // position i and the one after it are of two runs
        if (p.segment != nullptr) {
            const int lane = thread % 32;
            borders =
                __ballot_sync(kAll, lane < kRows && stage.segment[lane] != stage.segment[lane + 1]);
        }
#pragma unroll
        for (int k = 0; k < kChannels; ++k) {
            if (live[k] == 0) {
                continue;
            }
            if (borders != 0 && mine[k]) {
                // Nothing left of the last border reaches the tile's end. The column is this
                // thread's alone.
                for (int row = 31 - __clz(static_cast<int>(borders)); row >= 0; --row) {
                    stage.x[row][column[k]] = T(0.0F);
                }
            }
#pragma unroll 1
            for (int first = kRows - kEndBatch; first >= 0; first -= kEndBatch) {
                float sums[kEndBatch];
                float dx[kEndBatch];
#pragma unroll
                for (int j = kEndBatch - 1; j >= 0; --j) {
                    const float delta =
                        softplus(to_float(stage.dt[first + j][column[k]]) + bias[k]);
                    dx[j] = delta * to_float(stage.x[first + j][column[k]]);
                    sums[j] = sum[k];
                    sum[k] += delta;
                }
#pragma unroll
                for (int g = 0; g < kGroups; ++g) {
                    if ((live[k] >> g & 1U) != 0) {
#pragma unroll
                        for (int j = kEndBatch - 1; j >= 0; --j) {
                            const float4 b4 =
                                *reinterpret_cast<const float4*>(&stage.b[first + j][g * kGroup]);
                            const float bs[kGroup] = {b4.x, b4.y, b4.z, b4.w};
#pragma unroll
                            for (int n = 0; n < kGroup; ++n) {
                                float& state = h[k][g * kGroup + n];
                                state = fmaf(exp2_approx(sums[j] * a2[k][g * kGroup + n]),
                                             bs[n] * dx[j], state);
                            }
                        }
                    }
                }
            }
            sum[k] = borders != 0 ? kForget : sum[k];
        }
    }
    // The tile's first position may begin a run: then nothing comes through it from the left.
    const std::int32_t* const segment = p.segment != nullptr && tile > 0
                                            ? p.segment + b * p.segment_stride + (end - p.tile)
                                            : nullptr;
    const bool begins_run = segment != nullptr && segment[0] != segment[-1];
#pragma unroll
    for (int k = 0; k < kChannels; ++k) {
        if (mine[k]) {
            const std::int64_t at = (b * p.tiles + tile) * p.inner + window + column[k];
            p.tile_delta[at] = begins_run ? kForget : sum[k];
#pragma unroll
            for (int n = 0; n < N; ++n) {
                if (n < p.states) {
                    p.tile_state[at * p.states + n] = h[k][n];
                }
            }
        }
    }
}

/// Between the passes. One thread a (lane, channel, state): end states of the tiles become the
/// states at their starts.
template <class T>
__global__ void __launch_bounds__(kCombineThreads) selective_scan_combine_kernel(ScanParams<T> p) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kCombineThreads + threadIdx.x;
    const std::int64_t lane_states = static_cast<std::int64_t>(p.inner) * p.states;
    if (i >= p.batch * lane_states) {
        return;
    }
    const std::int64_t b = i / lane_states;
    const std::int64_t en = i % lane_states;
    const std::int64_t e = en / p.states;
    const std::int64_t lane_end = valid_length(p, b);
    const int ended = ended_tiles(p);
    const float a2 = decay_of(p.a_log[en]);
    float h = p.state_in != nullptr ? p.state_in[b * lane_states + en] : 0.0F;
    float* const state = p.tile_state + b * p.tiles * lane_states + en;
    const float* const delta = p.tile_delta + b * p.tiles * p.inner + e;
    constexpr int kAhead = 16;  // loads in flight: the chain itself is short
    for (int first = 0; first < p.tiles; first += kAhead) {
        float ends[kAhead];
        float sums[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            // A tile that its lane does not fill has no end.
            const bool there =
                first + k < ended && static_cast<std::int64_t>(first + k + 1) * p.tile <= lane_end;
            ends[k] = there ? state[(first + k) * lane_states] : 0.0F;
            sums[k] = there ? delta[static_cast<std::int64_t>(first + k) * p.inner] : 0.0F;
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            if (first + k < p.tiles) {
                state[(first + k) * lane_states] = h;
                h = sums[k] < kForget ? fmaf(exp2_approx(a2 * sums[k]), h, ends[k]) : ends[k];
                if (static_cast<std::int64_t>(first + k + 1) * p.tile == lane_end &&
                    p.state_out != nullptr) {
                    p.state_out[i] = h;
                }
            }
        }
    }
}

}  // namespace mambase::cuda
