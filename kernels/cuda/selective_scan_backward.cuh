// Selective scan, backward, channels last (formulas: spec Mamba 1.9).
// Over 500 lines because it is a workshop still: to be split when the launcher is written.
//
// The forward pass has kept the state before every kKept-th position. A block owns a tile of
// kScanTile positions and kBackChannels channels and walks it right to left, kKept positions at a
// time:
//   1. all threads turn rows of x, dt_raw, z, dy into delta, x and the gradient of the ungated
//   output (shared, f32);
//   2. a thread owns one channel's half of the states: it runs kKept positions forward from the
//   kept state, four with
//      a and a·h held in registers, and then back; sums over its channel's states go to shared
//      memory;
//   3. all threads turn those sums into rows of dx, ddt_raw, dz.
// Sums over channels (db, dc): in the thread over kBackGroups channels, over a warp by
// reduce-scatter, over warps in shared memory, over blocks by a last kernel in order. Sums over
// positions (da_log, dd, ddt_bias): one f32 partial a tile, added in f64 by a last kernel. No
// atomics, one order.
#pragma once

#include "kernels/cuda/selective_scan.cuh"

namespace mambase::cuda {

constexpr int kBackThreads = 128;
constexpr int kBackGroups = 2;
constexpr int kBackChannels = kBackThreads / 2 * kBackGroups;  // 128
constexpr int kHistory = 4;

template <class T>
struct ScanGradParams {
    ScanParams<T> in;  // as forward; y and state_out unused
    Rows<const T> dy;
    Rows<T> dx, ddt_raw, dz;
    const float* kept;        // [B, ceil(T/kKept), E, N] state before position kKept·i
    const float* dstate_out;  // [B,E,N] or null
    float* tile_dstate_own;   // [B,tiles,E,N]: each tile's part; after combine: dstate at each
                              // tile's end
    float* tile_delta;        // [B,tiles,E]
    float* dstate_in;         // [B,E,N] or null
    float* bc_partial;        // [E/kBackChannels][B][T][2N]
    float* a_partial;         // [B,tiles,E,N]
    float* de_partial;        // [B,tiles,E,2]: dd, ddt_bias
    int batch;
};

template <class T>
struct StartStage {
    T dy[kEndStage][kEndWindow];
    T dt[kEndStage][kEndWindow];
    T z[kEndStage][kEndWindow];
};

/// The mirror of pass 1: each tile's own gradient of the state before it. A block owns a tile of
/// kEndWindow channels. Its threads take the channels in the order of their dt_bias, so that a
/// warp's channels forget at about the same pace and stop together.
template <class T, int N, bool kVector>
__global__ void __launch_bounds__(kEndThreads, 2)
    selective_scan_tile_gradient_kernel(ScanGradParams<T> g) {
    const ScanParams<T>& p = g.in;
    constexpr int kGroup = 4;
    constexpr int kGroups = N / kGroup;
    constexpr int kPerVector = 16 / static_cast<int>(sizeof(T));
    extern __shared__ __align__(16) unsigned char shared[];
    StartStage<T>* const stages = reinterpret_cast<StartStage<T>*>(shared);
    float(*const b_stage)[kEndStage][N] =
        reinterpret_cast<float(*)[kEndStage][N]>(shared + 2 * sizeof(StartStage<T>));
    const int tile = static_cast<int>(blockIdx.x) + 1;
    const int b = static_cast<int>(blockIdx.z);
    const int window = static_cast<int>(blockIdx.y) * kEndWindow;
    const int channels = min(kEndWindow, p.inner - window);
    const std::int64_t begin = static_cast<std::int64_t>(tile) * kScanTile;
    const std::int64_t end = min(begin + kScanTile, valid_length(p, b));
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
        StartStage<T>& stage = stages[s % 2];
        const std::int64_t first = begin + static_cast<std::int64_t>(s) * kEndStage;
        if constexpr (kVector) {
            const int vectors = channels / kPerVector;
            for (int i = threadIdx.x; i < kEndStage * vectors; i += kEndThreads) {
                const int row = i / vectors;
                const int column = i % vectors * kPerVector;
                if (first + row < end) {
                    copy_async_16(&stage.dy[row][column],
                                  g.dy.row(b, first + row) + window + column);
                    copy_async_16(&stage.dt[row][column],
                                  p.dt_raw.row(b, first + row) + window + column);
                    if (p.z.data != nullptr) {
                        copy_async_16(&stage.z[row][column],
                                      p.z.row(b, first + row) + window + column);
                    }
                }
            }
        } else {
            for (int i = threadIdx.x; i < kEndStage * channels; i += kEndThreads) {
                const int row = i / channels;
                const int column = i % channels;
                if (first + row < end) {
                    stage.dy[row][column] = g.dy.row(b, first + row)[window + column];
                    stage.dt[row][column] = p.dt_raw.row(b, first + row)[window + column];
                    if (p.z.data != nullptr) {
                        stage.z[row][column] = p.z.row(b, first + row)[window + column];
                    }
                }
            }
        }
        for (int i = threadIdx.x; i < kEndStage * N; i += kEndThreads) {
            b_stage[s % 2][i / N][i % N] = i % N < p.states && first + i / N < end
                                               ? to_float(p.c.row(b, first + i / N)[i % N])
                                               : 0.0F;
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
        const StartStage<T>& stage = stages[s % 2];
        const std::int64_t first = begin + static_cast<std::int64_t>(s) * kEndStage;
#pragma unroll 4
        for (int i = 0; i < kEndStage; ++i) {
            if (first + i >= end) {
                break;
            }
            if (p.segment != nullptr) {
                const std::int32_t* const ids = p.segment + b * p.segment_stride + first + i;
                if (ids[-1] != ids[0]) {
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
                dx[k] = to_float(stage.dy[i][channel[k]]);
                if (p.z.data != nullptr) {
                    const float z = to_float(stage.z[i][channel[k]]);
                    dx[k] *= z * sigmoid(z);
                }
                sum[k] += delta[k];
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
        }
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        if (mine[k]) {
            const std::int64_t at =
                (static_cast<std::int64_t>(b) * p.tiles + tile) * p.inner + window + channel[k];
            g.tile_delta[at] = sum[k];
#pragma unroll
            for (int n = 0; n < N; ++n) {
                if (n < p.states) {
                    g.tile_dstate_own[at * p.states + n] = h[k][n];
                }
            }
        }
    }
}

/// From the right: the state gradient at each tile's end, from each tile's own part.
template <class T>
__global__ void __launch_bounds__(256) selective_scan_combine_gradient_kernel(ScanGradParams<T> g) {
    const ScanParams<T>& p = g.in;
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * 256 + threadIdx.x;
    const std::int64_t lane_states = static_cast<std::int64_t>(p.inner) * p.states;
    if (i >= g.batch * lane_states) {
        return;
    }
    const std::int64_t b = i / lane_states;
    const std::int64_t en = i % lane_states;
    const float a2 = -expf(p.a_log[en]) * kLog2e;
    float carry = g.dstate_out != nullptr ? g.dstate_out[b * lane_states + en] : 0.0F;
    float* const own = g.tile_dstate_own + b * p.tiles * lane_states + en;
    const float* const delta = g.tile_delta + b * p.tiles * p.inner + en / p.states;
    constexpr int kAhead = 8;
    for (int last = p.tiles - 1; last >= 0; last -= kAhead) {
        float parts[kAhead];
        float sums[kAhead];
#pragma unroll
        for (int k = 0; k < kAhead; ++k) {
            const bool there = last - k >= 1;
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
}

/// db and dc: the blocks' partials added in order.
template <class T>
__global__ void selective_scan_sum_bc_kernel(const float* partial,
                                             int blocks,
                                             std::int64_t rows,
                                             std::int64_t length,
                                             int states,
                                             int kernel_states,
                                             Rows<T> db,
                                             Rows<T> dc) {
    const std::int64_t width = 2 * kernel_states;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
         i < rows * width; i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
        float total = 0.0F;
        for (int k = 0; k < blocks; ++k) {
            total += partial[k * rows * width + i];
        }
        const std::int64_t row = i / width;
        const int column = static_cast<int>(i % width);
        const int n = column % kernel_states;
        if (n < states) {
            (column < kernel_states ? db : dc).row(row / length, row % length)[n] =
                static_cast<T>(total);
        }
    }
}

/// Shared memory of the backward kernel; rows padded so that neighbours start in other banks.
struct BackShared {
    float delta[kKept][kBackChannels + 4];
    float x[kKept][kBackChannels + 4];
    float dy[kKept][kBackChannels + 4];  // of the ungated output
    float out[kKept][kBackChannels + 4];
    float du[kKept][kBackChannels + 4];
    float dd[kKept][kBackChannels + 4];
    float b[kKept][16];
    float c[kKept][16];
    float a2[kBackChannels][20];
    float ag[kBackChannels][20];
    float da[kBackChannels][20];
    float sum[kBackThreads / 32][kKept][32];
};

template <class T, int N, bool kGate>
__global__ void __launch_bounds__(kBackThreads, 2)
    selective_scan_backward_kernel(ScanGradParams<T> g) {
    static_assert(N == 16 && kKept == 8, "one lane pair owns sixteen states");
    extern __shared__ __align__(16) unsigned char shared[];
    BackShared& sh = *reinterpret_cast<BackShared*>(shared);
    auto& s_delta = sh.delta;
    auto& s_x = sh.x;
    auto& s_dy = sh.dy;
    auto& s_out = sh.out;
    auto& s_du = sh.du;
    auto& s_dd = sh.dd;
    auto& s_b = sh.b;
    auto& s_c = sh.c;
    auto& s_a2 = sh.a2;
    auto& s_ag = sh.ag;
    auto& s_da = sh.da;
    auto& s_sum = sh.sum;
    const ScanParams<T>& p = g.in;
    const int tile = static_cast<int>(blockIdx.x);
    const int b = static_cast<int>(blockIdx.z);
    const int window = static_cast<int>(blockIdx.y) * kBackChannels;
    const int tid = static_cast<int>(threadIdx.x);
    const int warp = tid / 32;
    const int lane = tid % 32;
    const std::int64_t begin = static_cast<std::int64_t>(tile) * kScanTile;
    const std::int64_t end = min(begin + kScanTile, p.length);
    const std::int64_t lane_end = valid_length(p, b);
    const std::int64_t kept_rows = (p.length + kKept - 1) / kKept;

    for (int i = tid; i < kBackChannels * N; i += kBackThreads) {
        const int e = window + i / N;
        const int n = i % N;
        const bool there = e < p.inner && n < p.states;
        s_a2[i / N][n] =
            there ? -expf(p.a_log[static_cast<std::int64_t>(e) * p.states + n]) * kLog2e : 0.0F;
        s_ag[i / N][n] =
            there ? g.tile_dstate_own[((static_cast<std::int64_t>(b) * p.tiles + tile) * p.inner +
                                       e) *
                                          p.states +
                                      n]
                  : 0.0F;
        s_da[i / N][n] = 0.0F;
    }

    // Phases 1 and 3: a thread owns eight neighbouring channels of one of the eight rows.
    const int row = tid / 16;
    const int column = tid % 16 * 8;
    float bias[8];
    float skip[8];
    float sum_d[8] = {};
    float sum_bias[8] = {};
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        const int e = min(window + column + k, p.inner - 1);
        bias[k] = p.dt_bias[e];
        skip[k] = p.d[e];
    }
    const bool columns_there = window + column < p.inner;
    struct Octet {
        T v[8];
    };
    Octet x8{}, dt8{}, z8{}, dy8{};
    const auto fetch = [&](std::int64_t first) {
        const std::int64_t t = first + row;
        if (columns_there && t < min(end, lane_end)) {
            const int at = window + column;
            const auto take = [&](Octet& to, const T* from) {
                if constexpr (sizeof(T) == 2) {
                    *reinterpret_cast<uint4*>(to.v) = *reinterpret_cast<const uint4*>(from);
                } else {
                    reinterpret_cast<uint4*>(to.v)[0] = reinterpret_cast<const uint4*>(from)[0];
                    reinterpret_cast<uint4*>(to.v)[1] = reinterpret_cast<const uint4*>(from)[1];
                }
            };
            take(x8, p.x.row(b, t) + at);
            take(dt8, p.dt_raw.row(b, t) + at);
            if constexpr (kGate) {
                take(z8, p.z.row(b, t) + at);
            }
            take(dy8, g.dy.row(b, t) + at);
        }
    };
    // Phase 2: lane pairs own a channel, one half of its states each.
    const int half = lane % 2;
    const int n0 = half * 8;

    const std::int64_t last = begin + (end - begin - 1) / kKept * kKept;
    fetch(last);
    for (std::int64_t first = last; first >= begin; first -= kKept) {
        const bool row_there = first + row < min(end, lane_end) && columns_there;
        float h_kept[kBackGroups][8];
#pragma unroll
        for (int m = 0; m < kBackGroups; ++m) {
            const int e = min(window + warp * 16 * kBackGroups + m * 16 + lane / 2, p.inner - 1);
            const float4* const from = reinterpret_cast<const float4*>(
                g.kept +
                ((static_cast<std::int64_t>(b) * kept_rows + first / kKept) * p.inner + e) * N +
                n0);
            const float4 low = from[0];
            const float4 high = from[1];
            h_kept[m][0] = low.x;
            h_kept[m][1] = low.y;
            h_kept[m][2] = low.z;
            h_kept[m][3] = low.w;
            h_kept[m][4] = high.x;
            h_kept[m][5] = high.y;
            h_kept[m][6] = high.z;
            h_kept[m][7] = high.w;
        }
        // 1. rows to shared memory; a row past the lane's end is inert: a = 1, nothing added, no
        // gradient
        float x[8], delta[8], r[8], z[8], dout[8], dg[8];
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            x[k] = row_there ? to_float(x8.v[k]) : 0.0F;
            r[k] = row_there ? to_float(dt8.v[k]) + bias[k] : 0.0F;
            delta[k] = row_there ? softplus(r[k]) : 0.0F;
            dout[k] = row_there ? to_float(dy8.v[k]) : 0.0F;
            dg[k] = dout[k];
            if constexpr (kGate) {
                z[k] = row_there ? to_float(z8.v[k]) : 0.0F;
                dg[k] = dout[k] * z[k] * sigmoid(z[k]);
            }
        }
#pragma unroll
        for (int k = 0; k < 8; k += 4) {
            *reinterpret_cast<float4*>(&s_delta[row][column + k]) =
                make_float4(delta[k], delta[k + 1], delta[k + 2], delta[k + 3]);
            *reinterpret_cast<float4*>(&s_x[row][column + k]) =
                make_float4(x[k], x[k + 1], x[k + 2], x[k + 3]);
            *reinterpret_cast<float4*>(&s_dy[row][column + k]) =
                make_float4(dg[k], dg[k + 1], dg[k + 2], dg[k + 3]);
        }
        {
            const int i = tid;  // kKept·N = 128 of each
            const std::int64_t t = first + i / N;
            const bool there = t < min(end, lane_end) && i % N < p.states;
            s_b[i / N][i % N] = there ? to_float(p.b.row(b, t)[i % N]) : 0.0F;
            s_c[i / N][i % N] = there ? to_float(p.c.row(b, t)[i % N]) : 0.0F;
        }
        __syncthreads();
        const Octet dt_now = dt8;
        const Octet z_now = z8;
        const Octet dy_now = dy8;
        if (first > begin) {
            fetch(first - kKept);
        }
        // 2. the recurrence
        float h_mid[kBackGroups][8];
#pragma unroll
        for (int m = 0; m < kBackGroups; ++m) {
            const int ch = warp * 16 * kBackGroups + m * 16 + lane / 2;
            float a2[8];
            *reinterpret_cast<float4*>(&a2[0]) = *reinterpret_cast<const float4*>(&s_a2[ch][n0]);
            *reinterpret_cast<float4*>(&a2[4]) =
                *reinterpret_cast<const float4*>(&s_a2[ch][n0 + 4]);
#pragma unroll
            for (int n = 0; n < 8; ++n) {
                h_mid[m][n] = h_kept[m][n];
            }
#pragma unroll
            for (int i = 0; i < kHistory; ++i) {
                const float d = s_delta[i][ch];
                const float dx = d * s_x[i][ch];
                float bs[8];
                *reinterpret_cast<float4*>(&bs[0]) = *reinterpret_cast<const float4*>(&s_b[i][n0]);
                *reinterpret_cast<float4*>(&bs[4]) =
                    *reinterpret_cast<const float4*>(&s_b[i][n0 + 4]);
#pragma unroll
                for (int n = 0; n < 8; ++n) {
                    h_mid[m][n] = fmaf(bs[n], dx, exp2_approx(d * a2[n]) * h_mid[m][n]);
                }
            }
        }
#pragma unroll
        for (int part = 1; part >= 0; --part) {
            float acc_b[kHistory][8];
            float acc_c[kHistory][8];
#pragma unroll
            for (int m = 0; m < kBackGroups; ++m) {
                const int ch = warp * 16 * kBackGroups + m * 16 + lane / 2;
                float a2[8], ag[8], da[8], h[8];
                *reinterpret_cast<float4*>(&a2[0]) =
                    *reinterpret_cast<const float4*>(&s_a2[ch][n0]);
                *reinterpret_cast<float4*>(&a2[4]) =
                    *reinterpret_cast<const float4*>(&s_a2[ch][n0 + 4]);
                float a[kHistory][8];
                float ah[kHistory][8];
                float out[kHistory];
#pragma unroll
                for (int n = 0; n < 8; ++n) {
                    h[n] = part == 1 ? h_mid[m][n] : h_kept[m][n];
                }
#pragma unroll
                for (int i = 0; i < kHistory; ++i) {
                    const int t = part * kHistory + i;
                    const float d = s_delta[t][ch];
                    const float dx = d * s_x[t][ch];
                    const float dyv = s_dy[t][ch];
                    float bs[8], cs[8];
                    *reinterpret_cast<float4*>(&bs[0]) =
                        *reinterpret_cast<const float4*>(&s_b[t][n0]);
                    *reinterpret_cast<float4*>(&bs[4]) =
                        *reinterpret_cast<const float4*>(&s_b[t][n0 + 4]);
                    *reinterpret_cast<float4*>(&cs[0]) =
                        *reinterpret_cast<const float4*>(&s_c[t][n0]);
                    *reinterpret_cast<float4*>(&cs[4]) =
                        *reinterpret_cast<const float4*>(&s_c[t][n0 + 4]);
                    out[i] = 0.0F;
#pragma unroll
                    for (int n = 0; n < 8; ++n) {
                        a[i][n] = exp2_approx(d * a2[n]);
                        ah[i][n] = a[i][n] * h[n];
                        h[n] = fmaf(bs[n], dx, ah[i][n]);
                        out[i] = fmaf(cs[n], h[n], out[i]);
                        acc_c[i][n] = m == 0 ? dyv * h[n] : fmaf(dyv, h[n], acc_c[i][n]);
                    }
                }
                *reinterpret_cast<float4*>(&ag[0]) =
                    *reinterpret_cast<const float4*>(&s_ag[ch][n0]);
                *reinterpret_cast<float4*>(&ag[4]) =
                    *reinterpret_cast<const float4*>(&s_ag[ch][n0 + 4]);
                *reinterpret_cast<float4*>(&da[0]) =
                    *reinterpret_cast<const float4*>(&s_da[ch][n0]);
                *reinterpret_cast<float4*>(&da[4]) =
                    *reinterpret_cast<const float4*>(&s_da[ch][n0 + 4]);
                float du[kHistory];
                float dd[kHistory];
#pragma unroll
                for (int i = kHistory - 1; i >= 0; --i) {
                    const int t = part * kHistory + i;
                    const float d = s_delta[t][ch];
                    const float dx = d * s_x[t][ch];
                    const float dyv = s_dy[t][ch];
                    float bs[8], cs[8];
                    *reinterpret_cast<float4*>(&bs[0]) =
                        *reinterpret_cast<const float4*>(&s_b[t][n0]);
                    *reinterpret_cast<float4*>(&bs[4]) =
                        *reinterpret_cast<const float4*>(&s_b[t][n0 + 4]);
                    *reinterpret_cast<float4*>(&cs[0]) =
                        *reinterpret_cast<const float4*>(&s_c[t][n0]);
                    *reinterpret_cast<float4*>(&cs[4]) =
                        *reinterpret_cast<const float4*>(&s_c[t][n0 + 4]);
                    du[i] = 0.0F;
                    dd[i] = 0.0F;
#pragma unroll
                    for (int n = 0; n < 8; ++n) {
                        const float gn = fmaf(cs[n], dyv, ag[n]);
                        du[i] = fmaf(bs[n], gn, du[i]);
                        const float gah = gn * ah[i][n];
                        dd[i] = fmaf(a2[n], gah, dd[i]);
                        da[n] = fmaf(d, gah, da[n]);
                        acc_b[i][n] = m == 0 ? gn * dx : fmaf(gn, dx, acc_b[i][n]);
                        ag[n] = a[i][n] * gn;
                    }
                }
                *reinterpret_cast<float4*>(&s_ag[ch][n0]) =
                    *reinterpret_cast<const float4*>(&ag[0]);
                *reinterpret_cast<float4*>(&s_ag[ch][n0 + 4]) =
                    *reinterpret_cast<const float4*>(&ag[4]);
                *reinterpret_cast<float4*>(&s_da[ch][n0]) =
                    *reinterpret_cast<const float4*>(&da[0]);
                *reinterpret_cast<float4*>(&s_da[ch][n0 + 4]) =
                    *reinterpret_cast<const float4*>(&da[4]);
#pragma unroll
                for (int i = 0; i < kHistory; ++i) {
                    const float out_both = out[i] + __shfl_xor_sync(0xffffffffU, out[i], 1);
                    const float du_both = du[i] + __shfl_xor_sync(0xffffffffU, du[i], 1);
                    const float dd_both = dd[i] + __shfl_xor_sync(0xffffffffU, dd[i], 1);
                    const int t = part * kHistory + i;
                    if (half == 0) {
                        s_out[t][ch] = out_both;
                        s_dd[t][ch] = dd_both;
                    } else {
                        s_du[t][ch] = du_both;
                    }
                }
            }
            // Over the sixteen channels of the warp: each step halves the values that a lane still
            // holds.
            float value[2 * kHistory * 8];  // [t][b or c][n]
#pragma unroll
            for (int i = 0; i < kHistory; ++i) {
#pragma unroll
                for (int n = 0; n < 8; ++n) {
                    value[(i * 2) * 8 + n] = acc_b[i][n];
                    value[(i * 2 + 1) * 8 + n] = acc_c[i][n];
                }
            }
#pragma unroll
            for (int bit = 16, count = 64; bit >= 2; bit /= 2, count /= 2) {
                const bool upper = (lane & bit) != 0;
#pragma unroll
                for (int i = 0; i < count / 2; ++i) {
                    const float keep = upper ? value[i + count / 2] : value[i];
                    const float give = upper ? value[i] : value[i + count / 2];
                    value[i] = keep + __shfl_xor_sync(0xffffffffU, give, bit);
                }
            }
            // A lane now holds four values: index bits from lane bits 16, 8, 4, 2, highest first.
            const int base = ((lane >> 4 & 1) << 5) | ((lane >> 3 & 1) << 4) |
                             ((lane >> 2 & 1) << 3) | ((lane >> 1 & 1) << 2);
            const int i = base / 16;
            const int which = base / 8 % 2;
            const int n = base % 8;
            *reinterpret_cast<float4*>(&s_sum[warp][part * kHistory + i][which * N + n0 + n]) =
                make_float4(value[0], value[1], value[2], value[3]);
        }
        __syncthreads();
        // 3. rows out
        for (int i = tid; i < kKept * 2 * N; i += kBackThreads) {
            const std::int64_t t = first + i / (2 * N);
            float total = 0.0F;
#pragma unroll
            for (int w = 0; w < kBackThreads / 32; ++w) {
                total += s_sum[w][i / (2 * N)][i % (2 * N)];
            }
            if (t < end) {
                g.bc_partial[((static_cast<std::int64_t>(blockIdx.y) * g.batch + b) * p.length +
                              t) *
                                 2 * N +
                             i % (2 * N)] = total;
            }
        }
        if (columns_there && first + row < end) {
            Octet dx_out, ddt_out, dz_out;
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                const float xv = s_x[row][column + k];
                const float dv = s_delta[row][column + k];
                const float dgv = s_dy[row][column + k];
                const float du = s_du[row][column + k];
                const float rv = to_float(dt_now.v[k]) + bias[k];
                const float ddelta = fmaf(xv, du, s_dd[row][column + k] * 0.69314718F);
                const float dr = row_there ? ddelta * sigmoid(rv) : 0.0F;
                dx_out.v[k] = static_cast<T>(fmaf(skip[k], dgv, dv * du));
                ddt_out.v[k] = static_cast<T>(dr);
                if constexpr (kGate) {
                    const float zv = to_float(z_now.v[k]);
                    const float s = sigmoid(zv);
                    const float y = fmaf(skip[k], xv, s_out[row][column + k]);
                    dz_out.v[k] = static_cast<T>(row_there ? to_float(dy_now.v[k]) * y * s *
                                                                 (1.0F + zv * (1.0F - s))
                                                           : 0.0F);
                }
                sum_d[k] = fmaf(dgv, xv, sum_d[k]);
                sum_bias[k] += dr;
            }
            const auto put = [&](const Octet& from, T* to) {
                if constexpr (sizeof(T) == 2) {
                    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from.v);
                } else {
                    reinterpret_cast<uint4*>(to)[0] = reinterpret_cast<const uint4*>(from.v)[0];
                    reinterpret_cast<uint4*>(to)[1] = reinterpret_cast<const uint4*>(from.v)[1];
                }
            };
            const std::int64_t t = first + row;
            put(dx_out, g.dx.row(b, t) + window + column);
            put(ddt_out, g.ddt_raw.row(b, t) + window + column);
            if constexpr (kGate) {
                put(dz_out, g.dz.row(b, t) + window + column);
            }
        }
        __syncthreads();
    }
    const std::int64_t tile_row = static_cast<std::int64_t>(b) * p.tiles + tile;
    for (int i = tid; i < kBackChannels * N; i += kBackThreads) {
        const int e = window + i / N;
        const int n = i % N;
        if (e < p.inner && n < p.states) {
            g.a_partial[(tile_row * p.inner + e) * p.states + n] =
                s_da[i / N][n] * s_a2[i / N][n] * 0.69314718F;
            if (tile == 0 && g.dstate_in != nullptr) {
                g.dstate_in[(static_cast<std::int64_t>(b) * p.inner + e) * p.states + n] =
                    s_ag[i / N][n];
            }
        }
    }
    // The eight rows' sums of d and dt_bias, through shared memory that is free now.
#pragma unroll
    for (int k = 0; k < 8; ++k) {
        s_delta[row][column + k] = sum_d[k];
        s_x[row][column + k] = sum_bias[k];
    }
    __syncthreads();
    if (window + tid < p.inner) {
        float d_total = 0.0F;
        float bias_total = 0.0F;
#pragma unroll
        for (int i = 0; i < kKept; ++i) {
            d_total += s_delta[i][tid];
            bias_total += s_x[i][tid];
        }
        g.de_partial[(tile_row * p.inner + window + tid) * 2] = d_total;
        g.de_partial[(tile_row * p.inner + window + tid) * 2 + 1] = bias_total;
    }
}

}  // namespace mambase::cuda
