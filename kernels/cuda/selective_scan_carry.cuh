// Selective scan, backward: what reaches a tile from its right.
// B lanes, T positions, E channels, N states.
//
// The gradient of the state before a tile is its own part, Σ_t exp(A·Σ delta)·c[t]·dy[t], and what
// the tiles on its right send through it. The own parts are walked from a tile's first position on
// and cut off where exp(A·Σ delta) is below 2^-kCarryVanished: what lies further right adds nothing
// that f32 can hold. With delta as at initialisation that is a small part of the tile.
#pragma once

#include "kernels/cuda/device/bulk_copy.cuh"
#include "kernels/cuda/device/ranks.cuh"
#include "kernels/cuda/selective_scan_grad.cuh"

namespace mambase::cuda {

constexpr int kCarryThreads = 128;               // that have all states of their channels
constexpr int kCarryBlocks = 4;                  // a multiprocessor
constexpr int kCarryWindow = 2 * kCarryThreads;  // channels of a block
constexpr int kCarryGroup = 4;                   // states that are cut off together
constexpr int kCarryGroups = kBackStates / kCarryGroup;
constexpr int kCarryStep = 4;  // positions between two looks at what is cut off
constexpr int kCarryRing = 4;  // stages in shared memory

template <class T, int kParts>
struct CarryShared {
    static constexpr int kStage = 16 / static_cast<int>(sizeof(T));  // positions: 13 KB a stage
    T dy[kCarryRing][kStage][kCarryWindow];
    T dt[kCarryRing][kStage][kCarryWindow];
    T z[kCarryRing][kStage][kCarryWindow];
    float c[kCarryRing][kStage][kBackStates];
    std::uint64_t arrived[kCarryRing];  // bulk copies
    // Where the states are dealt out: what they share of a stage, by channel of a thread, and
    // which channels count, of two stages.
    static constexpr int kDealt = kParts > 1 ? kStage : 1;
    float delta[kDealt][2][kCarryThreads];
    float gated_dy[kDealt][2][kCarryThreads];
    unsigned alive[2][kParts][kCarryThreads / kWarp];
};

/// A block owns a tile of kCarryWindow channels and ranks them by dt_bias: 32 neighbours in rank
/// forget at about the same pace and stop together. A thread has one channel of the slow half and
/// one of the fast half, the slowest with the fastest, so that no warp has much more to do.
///
/// With kParts of 4 the states of a channel are dealt to four threads, a group each: more work in
/// all, done in less time where there are few tiles. The bits are the same.
template <class T, bool kVector, int kParts>
__global__ void __launch_bounds__(kCarryThreads* kParts, kCarryBlocks / kParts)
    selective_scan_carry_kernel(const ScanGradParams<T> p) {
    constexpr int kThreads = kCarryThreads * kParts;
    constexpr int kGroups = kCarryGroups / kParts;  // of a thread
    constexpr int kStates = kGroups * kCarryGroup;
    constexpr int kPerWord = 16 / static_cast<int>(sizeof(T));
    using Shared = CarryShared<T, kParts>;
    constexpr int kStage = Shared::kStage;
    const int stages = p.tile / kStage;
    extern __shared__ __align__(16) unsigned char shared[];
    Shared& sh = *reinterpret_cast<Shared*>(shared);
    const int tid = static_cast<int>(threadIdx.x);
    const int part = kParts > 1 ? tid / kCarryThreads : 0;
    // Warps of one number share a scheduler, so the parts of the slowest channels go to different
    // numbers.
    constexpr int kSets = kCarryThreads / kWarp;
    const int channel_set = (tid / kWarp + part) % kSets;
    const int own = channel_set * kWarp + tid % kWarp;
    const int first_state = p.first_state + part * kStates;
    const int windows = (p.inner + kCarryWindow - 1) / kCarryWindow;
    const int window = static_cast<int>(blockIdx.x) % windows * kCarryWindow;
    const int lane_tile = static_cast<int>(blockIdx.x) / windows;
    const int tile = lane_tile % (p.tiles - p.first_carry_tile) + p.first_carry_tile;
    const int b = lane_tile / (p.tiles - p.first_carry_tile);
    const int channels = min(kCarryWindow, p.inner - window);
    const std::int64_t begin = static_cast<std::int64_t>(tile) * p.tile;
    const int count = static_cast<int>(
        max(static_cast<std::int64_t>(0),
            min(valid_length(p.valid, b, p.length) - begin, static_cast<std::int64_t>(p.tile))));
    float* const key = reinterpret_cast<float*>(shared);
    short* const order = reinterpret_cast<short*>(key + kCarryWindow);
    rank_channels(p.dt_bias + window, channels, key, order);
    bool mine[2];
    int channel[2];
    float bias[2];
    float a2[2][kStates];
    float sum[2][kStates] = {};
    float elapsed[2] = {};  // Σ delta
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const int rank = paired_rank(k, own, kCarryThreads);
        mine[k] = rank < channels;
        channel[k] = mine[k] ? order[rank] : 0;
        bias[k] = key[channel[k]];
#pragma unroll
        for (int n = 0; n < kStates; ++n) {
            a2[k][n] =
                mine[k] && first_state + n < p.states
                    ? -expf(p.a_log[static_cast<std::int64_t>(window + channel[k]) * p.states +
                                    first_state + n]) *
                          kLog2e
                    : -1e30F;
        }
        elapsed[k] = mine[k] ? 0.0F : 1.0F;
    }
    __syncthreads();
    const bool gate = static_cast<bool>(p.z);
    constexpr bool kBulk = kVector && kHasBulkCopies;
    const auto fetch_rows = [&](T(&to)[kStage][kCarryWindow], const LaneRows<const T>& tensor,
                                int first) {
        const T* const from = tensor.row(b, begin) + window;
        const int stride = static_cast<int>(tensor.row_stride);
        if constexpr (kVector) {
            constexpr int kWords = kCarryWindow / kPerWord;  // of a row
            constexpr int kRows = kThreads / kWords;         // of one pass of the block
            const int column = tid % kWords * kPerWord;
#pragma unroll
            for (int row = tid / kWords; row < kStage; row += kRows) {
                if (column < channels && first + row < count) {
                    copy_async_16(&to[row][column], from + (first + row) * stride + column);
                }
            }
        } else {
            for (int i = tid; i < channels; i += kThreads) {
                for (int row = 0; row < kStage && first + row < count; ++row) {
                    to[row][i] = from[(first + row) * stride + i];
                }
            }
        }
    };
    // A warp copies the rows of a tensor, a lane one row.
    const auto bulk_rows = [&](T(&to)[kStage][kCarryWindow], const LaneRows<const T>& tensor,
                               int first, std::uint64_t* arrived) {
        const int rows = max(0, min(kStage, count - first));
        const int bytes = channels * static_cast<int>(sizeof(T));
        const int row = tid % kWarp;
        if (row == 0) {
            bulk_expect(arrived, rows * bytes);
        }
        if (row < rows) {
            bulk_copy(to[row], tensor.row(b, begin + first + row) + window, bytes, arrived);
        }
    };
    const auto fetch = [&](int stage) {
        const int first = stage * kStage;
        const int at = stage % kCarryRing;
        if constexpr (kBulk) {
            std::uint64_t* const arrived = &sh.arrived[at];
            if (tid / kWarp == 0) {
                bulk_rows(sh.dy[at], p.dy, first, arrived);
            } else if (tid / kWarp == 1) {
                bulk_rows(sh.dt[at], p.dt_raw, first, arrived);
            } else if (tid / kWarp == 2 && gate) {
                bulk_rows(sh.z[at], p.z, first, arrived);
            }
        } else {
            fetch_rows(sh.dy[at], p.dy, first);
            fetch_rows(sh.dt[at], p.dt_raw, first);
            if (gate) {
                fetch_rows(sh.z[at], p.z, first);
            }
        }
    };
    // c comes by way of registers and is widened some stages later, so that nothing waits for it.
    static_assert(kStage * kBackStates <= kCarryThreads);
    const int c_row = tid / kBackStates;
    const int c_state = p.first_state + tid % kBackStates;
    const auto load_c = [&](int first) {
        return c_row < kStage && first + c_row < count && c_state < p.states
                   ? p.c.row(b, begin + first + c_row)[c_state]
                   : static_cast<T>(0.0F);
    };
    const auto keep_c = [&](int stage, T c) {
        if (c_row < kStage) {
            sh.c[stage % kCarryRing][c_row][tid % kBackStates] = to_float(c);
        }
    };
    if (kBulk && tid == 0) {
        for (std::uint64_t& arrived : sh.arrived) {
            bulk_barrier_init(&arrived, gate ? 3 : 2);
        }
    }
    bulk_fence();
    __syncthreads();
    const std::int32_t* const segment =
        p.segment != nullptr ? p.segment + b * p.segment_stride + begin : nullptr;
    bool stop = false;         // a border: nothing from its right passes
    T next_c[kCarryRing - 2];  // of the stages after the next one
    static_assert(kShortBackTile / kStage >= kCarryRing);
    for (int stage = 0; stage + 1 < kCarryRing; ++stage) {
        fetch(stage);
        copy_async_commit();
    }
    keep_c(0, load_c(0));
#pragma unroll
    for (int i = 0; i < kCarryRing - 2; ++i) {
        next_c[i] = load_c((i + 1) * kStage);
    }
    int waited = 0;  // stages
    for (int stage = 0; stage < stages; ++stage) {
        unsigned live[2] = {};  // groups of states that still count, for the whole warp
#pragma unroll
        for (int k = 0; k < 2; ++k) {
#pragma unroll
            for (int j = 0; j < kGroups; ++j) {
                const float* const a = &a2[k][j * kCarryGroup];
                const float slowest = fmaxf(fmaxf(a[0], a[1]), fmaxf(a[2], a[3]));
                live[k] |= __any_sync(0xffffffffU, elapsed[k] * slowest > -vanished<T>() &&
                                                       slowest > -1e30F && !stop)
                               ? 1U << j
                               : 0U;
            }
        }
        if (kParts > 1 && tid % kWarp == 0) {
            sh.alive[stage % 2][part][channel_set] =
                (live[0] != 0 ? 1U : 0U) | (live[1] != 0 ? 2U : 0U);
        }
        if constexpr (kBulk) {
            bulk_wait(&sh.arrived[stage % kCarryRing], stage / kCarryRing % 2);
        } else {
            copy_async_wait<kCarryRing - 2>();
        }
        ++waited;
        if (__syncthreads_or((live[0] | live[1]) != 0 ? 1 : 0) == 0) {
            break;
        }
        bool any[2] = {live[0] != 0, live[1] != 0};  // Σ delta goes on for all states of a channel
        for (int i = 0; kParts > 1 && i < kParts; ++i) {
            any[0] |= (sh.alive[stage % 2][i][channel_set] & 1U) != 0;
            any[1] |= (sh.alive[stage % 2][i][channel_set] & 2U) != 0;
        }
        const int first = stage * kStage;
        if (stage + kCarryRing - 1 < stages) {
            fetch(stage + kCarryRing - 1);
        }
        copy_async_commit();
        const T coming_c = load_c(first + (kCarryRing - 1) * kStage);
        int steps = min(kStage, count - first);
        if (segment != nullptr) {
            for (int i = steps - 1; i >= 0; --i) {
                if (begin + first + i > 0 && segment[first + i] != segment[first + i - 1]) {
                    steps = i;
                    stop = true;
                }
            }
        }
        if (steps < kStage) {  // rows that are not there are inert
            for (int i = max(steps, 0) * kCarryWindow + tid; i < kStage * kCarryWindow;
                 i += kThreads) {
                (&sh.dy[stage % kCarryRing][0][0])[i] = static_cast<T>(0.0F);
                (&sh.dt[stage % kCarryRing][0][0])[i] = static_cast<T>(__int_as_float(0xff800000));
                (&sh.z[stage % kCarryRing][0][0])[i] = static_cast<T>(0.0F);
            }
            bulk_fence();
            __syncthreads();
        }
        const auto& cs = sh.c[stage % kCarryRing];
        const auto delta_of = [&](int k, int i) {
            const int at = i * kCarryWindow + channel[k];
            return grad_softplus<T>(to_float((&sh.dt[stage % kCarryRing][0][0])[at]) + bias[k]);
        };
        const auto gated_dy_of = [&](int k, int i) {
            const int at = i * kCarryWindow + channel[k];
            const float dy = to_float((&sh.dy[stage % kCarryRing][0][0])[at]);
            if (!gate) {
                return dy;
            }
            const float z = to_float((&sh.z[stage % kCarryRing][0][0])[at]);
            return dy * (z * sigmoid(z));
        };
        if constexpr (kParts > 1) {
#pragma unroll
            for (int k = 0; k < 2; ++k) {
#pragma unroll
                for (int i = 0; any[k] && i < kStage / kParts; ++i) {
                    const int row = part * (kStage / kParts) + i;
                    sh.delta[row][k][own] = delta_of(k, row);
                    sh.gated_dy[row][k][own] = gated_dy_of(k, row);
                }
            }
            __syncthreads();
        }
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            if (!any[k]) {
                continue;
            }
#pragma unroll 1
            for (int i0 = 0; i0 < steps; i0 += kCarryStep) {
                float until[kCarryStep];  // Σ delta up to and with the position
                float dy[kCarryStep];
#pragma unroll
                for (int i = 0; i < kCarryStep; ++i) {
                    dy[i] = kParts > 1 ? sh.gated_dy[i0 + i][k][own] : gated_dy_of(k, i0 + i);
                    elapsed[k] += kParts > 1 ? sh.delta[i0 + i][k][own] : delta_of(k, i0 + i);
                    until[i] = elapsed[k];
                }
#pragma unroll
                for (int j = 0; j < kGroups; ++j) {
                    if ((live[k] >> j & 1U) == 0) {
                        continue;
                    }
#pragma unroll
                    for (int i = 0; i < kCarryStep; ++i) {
                        const float4 c4 = *reinterpret_cast<const float4*>(
                            &cs[i0 + i][part * kStates + j * kCarryGroup]);
                        const float c[kCarryGroup] = {c4.x, c4.y, c4.z, c4.w};
#pragma unroll
                        for (int n = 0; n < kCarryGroup; ++n) {
                            float& to = sum[k][j * kCarryGroup + n];
                            to = fmaf(exp2_approx(until[i] * a2[k][j * kCarryGroup + n]),
                                      c[n] * dy[i], to);
                        }
                    }
                }
            }
        }
        keep_c(stage + 1, next_c[0]);
#pragma unroll
        for (int i = 0; i + 1 < kCarryRing - 2; ++i) {
            next_c[i] = next_c[i + 1];
        }
        next_c[kCarryRing - 3] = coming_c;
    }
    // What is under way when the block stops early has to land before its memory is another's.
    if constexpr (kBulk) {
        const int fetched = min(stages, waited + kCarryRing - 2);
        for (int stage = waited; stage < fetched; ++stage) {
            bulk_wait(&sh.arrived[stage % kCarryRing], stage / kCarryRing % 2);
        }
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        if (mine[k]) {
            const std::int64_t at =
                (static_cast<std::int64_t>(b) * p.tiles + tile) * p.inner + window + channel[k];
            if (part == 0) {
                p.tile_delta[at] = stop ? 1e30F : elapsed[k];
            }
#pragma unroll
            for (int n = 0; n < kStates; ++n) {
                if (first_state + n < p.states) {
                    p.tile_dstate[at * p.states + first_state + n] = sum[k][n];
                }
            }
        }
    }
}

/// From the right: the gradient of the state after each tile, from each tile's own part. One thread
/// a (lane, channel, state).
template <class T>
__global__ void __launch_bounds__(256)
    selective_scan_combine_carry_kernel(const ScanGradParams<T> p) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * 256 + threadIdx.x;
    const std::int64_t lane_states = static_cast<std::int64_t>(p.inner) * p.states;
    if (i >= p.batch * lane_states) {
        return;
    }
    const std::int64_t b = i / lane_states;
    const std::int64_t en = i % lane_states;
    const float a2 = -expf(p.a_log[en]) * kLog2e;
    float carry = p.dstate_out != nullptr ? p.dstate_out[b * lane_states + en] : 0.0F;
    float* const own = p.tile_dstate + b * p.tiles * lane_states + en;
    const float* const delta = p.tile_delta + b * p.tiles * p.inner + en / p.states;
    constexpr int kAhead = 8;  // loads in flight: the chain itself is short
    for (int last = p.tiles - 1; last >= 0; last -= kAhead) {
        float parts[kAhead];
        float sums[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            const bool there = last - k >= p.first_carry_tile;
            parts[k] = there ? own[(last - k) * lane_states] : 0.0F;
            sums[k] = there ? delta[static_cast<std::int64_t>(last - k) * p.inner] : 0.0F;
        }
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            if (last - k >= 0) {
                own[(last - k) * lane_states] = carry;
                carry = fmaf(exp2_approx(a2 * sums[k]), carry, parts[k]);
            }
        }
    }
    if (p.dstate_in != nullptr) {
        p.dstate_in[b * lane_states + en] = carry;
    }
}

template <class T, bool kVector, int kParts>
void launch_scan_carry_parts(ScanGradParams<T>& p, std::int64_t blocks, cudaStream_t stream) {
    const auto kernel = selective_scan_carry_kernel<T, kVector, kParts>;
    constexpr int kBytes = static_cast<int>(sizeof(CarryShared<T, kParts>));
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
    for (p.first_state = 0; p.first_state < p.states; p.first_state += kBackStates) {
        kernel<<<static_cast<unsigned>(blocks), kCarryThreads * kParts, kBytes, stream>>>(p);
    }
}

/// The tiles' own parts, of those that something reads.
template <class T, bool kVector>
void launch_scan_carry(ScanGradParams<T>& p, int multiprocessors, cudaStream_t stream) {
    const std::int64_t tiles = std::int64_t{p.batch} * (p.tiles - p.first_carry_tile);
    const std::int64_t blocks = tiles * ((p.inner + kCarryWindow - 1) / kCarryWindow);
    // Up to two blocks a multiprocessor the time is that of one thread.
    if (blocks <= std::int64_t{2} * multiprocessors) {
        launch_scan_carry_parts<T, kVector, kCarryGroups>(p, blocks, stream);
    } else {
        launch_scan_carry_parts<T, kVector, 1>(p, blocks, stream);
    }
}

}  // namespace mambase::cuda
