// Selective scan, backward, channels last (formulas: spec Mamba 1.9).
// Over 500 lines because splitting the kernel moved registers and cost 3 % of its time
// (docs/results/cuda-scan-backward.md).
// B lanes, T positions, E channels, N states.
//
// The forward pass has kept the state before every kKept-th position. A block owns a tile of
// p.tile positions and kBackChannels channels and walks it from right to left, kBackStage
// positions at a time:
//   1. every thread turns eight neighbouring channels of one row of x, dt_raw, z, dy into delta,
//      delta·x and the gradient of the ungated output (f32, shared memory);
//   2. a thread owns two channels x four states: kKept positions forward from the kept state with
//      a and h held in registers, then back;
//   3. every thread turns the sums over states into its part of a row of dx, ddt_raw, dz.
// What costs is not the recurrence but the sums, five for each (position, channel, state). A warp
// owns 16 channels x 16 states, which is a fragment of a 16 x 16 matrix product: out = C·h and
// du = B·g come from the fragment as it lies, dB = g·(delta x) and dC = h·dy from its transpose.
// The other operand holds the eight positions of the group in its eight columns; of each product
// only the column of its own position is taken. Activations in bf16 are multiplied as bf16, f32
// ones as two bf16 parts; sums are f32 throughout.
//
// Sums over channels (db, dc): 16 by the product, then the block's warps, then the blocks by a last
// kernel. Sums over positions (da_log, dd, ddt_bias): f32 in a tile, tiles in f64 by a last kernel.
// No atomics, one order.
#pragma once

#include "kernels/cuda/device/bulk_copy.cuh"
#include "kernels/cuda/device/mma.cuh"
#include "kernels/cuda/selective_scan_grad.cuh"
#include "kernels/cuda/selective_scan_grad_shared.cuh"

namespace mambase::cuda {

/// kVector: every row starts at 16 bytes, E is a multiple of eight, N is 16 (what pads a kept state
/// of fewer is not defined).
template <class T, bool kVector>
__global__ void __launch_bounds__(kBackThreads, sizeof(T) == 2 ? 2 : 1)
    selective_scan_backward_kernel(const ScanGradParams<T> p) {
    constexpr bool kSplit = BackShared<T>::kSplit;
    constexpr int kOctet = BackShared<T>::kOctet;
    constexpr int kBuffers = BackShared<T>::kBuffers;
    constexpr int kPerWord = 16 / static_cast<int>(sizeof(T));
    constexpr bool kBulk = kVector && kHasBulkCopies;
    constexpr float kLn2 = 0.6931471805599453F;
    extern __shared__ __align__(16) unsigned char shared[];
    BackShared<T>& sh = *reinterpret_cast<BackShared<T>*>(shared);
    const int window_index = static_cast<int>(blockIdx.x % static_cast<unsigned>(p.windows));
    const int tile_index = static_cast<int>(blockIdx.x / static_cast<unsigned>(p.windows));
    const int tile = tile_index % p.tiles;
    const int b = tile_index / p.tiles;
    const int window = window_index * kBackChannels;
    const int tid = static_cast<int>(threadIdx.x);
    const int warp = tid / 32;
    const int lane = tid % 32;
    const bool gate = p.z.data != nullptr;
    const std::int64_t begin = static_cast<std::int64_t>(tile) * p.tile;
    const int rows = static_cast<int>(min(p.length - begin, static_cast<std::int64_t>(p.tile)));
    // The lane's positions in the tile; rows from here on are zero.
    const int count = static_cast<int>(
        max(static_cast<std::int64_t>(0),
            min(valid_length(p.valid, b, p.length) - begin, static_cast<std::int64_t>(rows))));

    // Steps 1 and 3: eight neighbouring channels of one row.
    const int row = tid / 8;
    const int octet = tid % 8;
    const int columns = max(0, min(8, p.inner - window - octet * 8));
    const int column = window + octet * 8;
    const int pair = octet / 2 * 9 * 2 + octet % 2;  // place of channel k: pair + 2·k, in float2
    // Step 2: channels g and g + 8 of the warp's sixteen, states 4q to 4q + 3.
    const int group = lane / 4;
    const int quad = lane % 4;
    const int e0 = window + warp * 16 + group;
    const int states = min(kBackStates, p.states - p.first_state);

    float a2[2][4];
    float ag[2][4];
    float da[2][4] = {};
#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int e = e0 + 8 * k;
            const int n = 4 * quad + i;
            const bool there = e < p.inner && n < states;
            // Never 0: a border makes delta infinite to make a = 0.
            a2[k][i] = there ? fminf(-expf(p.a_log[static_cast<std::int64_t>(e) * p.states +
                                                   p.first_state + n]) *
                                         kLog2e,
                                     -1e-30F)
                             : -1.0F;
            ag[k][i] =
                there && p.tile_dstate != nullptr
                    ? p.tile_dstate[((static_cast<std::int64_t>(b) * p.tiles + tile) * p.inner +
                                     e) *
                                        p.states +
                                    p.first_state + n]
                    : 0.0F;
        }
    }
    if (tid < kBackChannels) {
        const bool there = window + tid < p.inner;
        const int at = (tid % 8 / 4 * 8 + tid / 8) * 4 + tid % 4;
        reinterpret_cast<float*>(sh.bias)[at] = there ? p.dt_bias[window + tid] : 0.0F;
        reinterpret_cast<float*>(sh.skip)[at] = there ? p.d[window + tid] : 0.0F;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        sh.parameter[k][tid] = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    }
    for (int i = 0; i < kBuffers * (kBackStage / kKept) * 2; ++i) {  // what is never fetched
        (&sh.kept[0][0][0])[i * kBackThreads + tid] = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    }
    if (columns == 0) {
#pragma unroll
        for (int k = 0; k < kBuffers * 4 * kOctet; ++k) {
            sh.raw[k / (4 * kOctet)][k / kOctet % 4][row][octet][k % kOctet] =
                make_uint4(0, 0, 0, 0);
        }
    }
    const auto take_octet = [octet](const float4(&from)[2][8], float(&to)[8]) {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const float4 v = from[k][octet];
            to[4 * k] = v.x;
            to[4 * k + 1] = v.y;
            to[4 * k + 2] = v.z;
            to[4 * k + 3] = v.w;
        }
    };
    // Where the thread's words of the tile's first rows lie. In shared memory, since the registers
    // are all taken; a later row is 32 bits of offset away.
    const auto place = [&](int which, const auto& tensor) {
        if (tensor.data != nullptr) {
            sh.place[which][tid] = reinterpret_cast<std::uintptr_t>(tensor.row(b, begin + row)) +
                                   static_cast<std::uintptr_t>(column) * sizeof(T);
        }
    };
    place(0, p.x);
    place(1, p.dt_raw);
    place(2, p.z);
    place(3, p.dy);
    place(4, p.dx);
    place(5, p.ddt_raw);
    place(6, p.dz);
    const auto row_at = [&](int which, const auto& tensor, int first) {
        return sh.place[which][tid] + static_cast<std::uint64_t>(static_cast<unsigned>(
                                          first * static_cast<int>(sizeof(T)))) *
                                          static_cast<unsigned>(tensor.row_stride);
    };
    const auto put_row = [&](int which, const LaneRows<T>& tensor, int first, const float(&v)[8]) {
        store8<kVector>(v, reinterpret_cast<T*>(row_at(which, tensor, first)), columns);
    };

    // b and c of a stage are 16-byte words too: [b or c][row][word].
    constexpr int kWordsOfRow = kBackStates / kPerWord;
    const bool carries_bc = tid < 2 * kBackStage * kWordsOfRow;
    const int bc_row = tid / kWordsOfRow % kBackStage;
    const bool bc_is_c = tid >= kBackStage * kWordsOfRow;
    const int bc_n = tid % kWordsOfRow * kPerWord;
    const LaneRows<const T>& bc_rows = bc_is_c ? p.c : p.b;
    if (carries_bc) {
        sh.place[7][tid] =
            reinterpret_cast<std::uintptr_t>(bc_rows.row(b, begin + bc_row) + p.first_state + bc_n);
    }
    const unsigned bc_stride = static_cast<unsigned>(bc_rows.row_stride);
    const int kept_row = p.inner * p.kept_states;
    const int kept_bytes = min(kBackChannels, p.inner - window) * p.kept_states * 4;  // of a window
    const float* const kept_rows =
        p.kept + (b * ((p.length + kKept - 1) / kKept) + begin / kKept) * kept_row +
        static_cast<std::int64_t>(window) * p.kept_states + p.first_state;
    // Kept states. Only a lane's last stage can lack its second group, which then stays zero.
    const auto fetch_kept = [&](int stage) {
        const int groups = stage * kBackStage + kKept < count ? 2 : 1;
        const float* const from = kept_rows + static_cast<std::int64_t>(stage * 2) * kept_row;
        if constexpr (kBulk) {
            if (tid == 0) {
                std::uint64_t* const arrived = &sh.arrived[stage % kBuffers];
                bulk_expect(arrived, groups * kept_bytes);
                bulk_copy(sh.kept[stage % kBuffers][0], from, kept_bytes, arrived);
                if (groups == 2) {
                    bulk_copy(sh.kept[stage % kBuffers][1], from + kept_row, kept_bytes, arrived);
                }
            }
        } else {
#pragma unroll
            for (int k = 0; k < 2; ++k) {
                const int e = warp * 16 + group + 8 * k;
                if (window + e < p.inner && 4 * quad < states) {
                    const float* const at = from + e * p.kept_states + 4 * quad;
                    copy_async_16(&sh.kept[stage % kBuffers][0][e * 4 + quad], at);
                    if (groups == 2) {
                        copy_async_16(&sh.kept[stage % kBuffers][1][e * 4 + quad], at + kept_row);
                    }
                }
            }
        }
    };
    const auto fetch = [&](int stage) {
        const int first = stage * kBackStage;
        fetch_kept(stage);
        // All addresses before the first copy, which keeps shared memory from being read.
        const std::uintptr_t x_at = row_at(0, p.x, first);
        const std::uintptr_t dt_at = row_at(1, p.dt_raw, first);
        const std::uintptr_t z_at = row_at(2, p.z, first);
        const std::uintptr_t dy_at = row_at(3, p.dy, first);
        const std::uintptr_t bc_at =
            sh.place[7][tid] +
            static_cast<std::uint64_t>(static_cast<unsigned>(first * static_cast<int>(sizeof(T)))) *
                bc_stride;
        uint4(&raw)[4][kBackStage][8][kOctet] = sh.raw[stage % kBuffers];
        const auto take = [&](int which, std::uintptr_t at) {
            fetch_words<kVector>(raw[which][row][octet], reinterpret_cast<const T*>(at), columns);
        };
        if (columns > 0 && first + row < count) {
            take(0, x_at);
            take(1, dt_at);
            take(3, dy_at);
            if (gate) {
                take(2, z_at);
            }
        }
        if (carries_bc && first + bc_row < count && bc_n < states) {
            uint4(&to)[1] = *reinterpret_cast<uint4(*)[1]>(&sh.raw_bc[stage % kBuffers][tid]);
            fetch_words<kVector>(to, reinterpret_cast<const T*>(bc_at), states - bc_n);
        }
        copy_async_commit();
    };
    const int stages = (count + kBackStage - 1) / kBackStage;
    for (int first = stages * kBackStage; columns > 0 && first + row < rows; first += kBackStage) {
        const float zero[8] = {};
        put_row(4, p.dx, first, zero);
        put_row(5, p.ddt_raw, first, zero);
        if (gate) {
            put_row(6, p.dz, first, zero);
        }
    }
    const unsigned even_columns = group % 2 == 0 ? 0xffffffffU : 0U;
    const float even_one = group % 2 == 0 ? 1.0F : 0.0F;
    unsigned position_mask[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        position_mask[j] = group / 2 == j ? 0xffffffffU : 0U;
    }
    if (warp == 0) {
        sh.one[lane] = unit_fragment(lane);
    }
    if (kBulk && tid == 0) {
        for (std::uint64_t& arrived : sh.arrived) {
            bulk_barrier_init(&arrived, 1);
        }
    }
    bulk_fence();
    __syncthreads();
    if (kBuffers == 2 && stages > 0) {
        fetch(stages - 1);
    }
    const volatile uint4& one_fragment = sh.one[lane];
    const unsigned one[4] = {one_fragment.x, one_fragment.y, one_fragment.z, one_fragment.w};
    for (int stage = stages - 1; stage >= 0; --stage) {
        const int first = stage * kBackStage;
        const bool there = first + row < count;
        uint4(&raw)[4][kBackStage][8][kOctet] = sh.raw[stage % kBuffers];
        if (kBuffers == 1) {
            fetch(stage);
        }
        copy_async_wait<0>();
        if constexpr (kBulk) {
            bulk_wait(&sh.arrived[stage % kBuffers], (stages - 1 - stage) / kBuffers % 2);
        }
        // 1. Elementwise. A row past the lane's end is inert: delta 0, nothing added, no gradient.
        if (!there) {
            const unsigned minus_infinity = sizeof(T) == 2 ? 0xff80ff80U : 0xff800000U;
#pragma unroll
            for (int k = 0; k < kOctet; ++k) {
                raw[0][row][octet][k] = make_uint4(0, 0, 0, 0);
                raw[1][row][octet][k] =
                    make_uint4(minus_infinity, minus_infinity, minus_infinity, minus_infinity);
                raw[2][row][octet][k] = make_uint4(0, 0, 0, 0);
                raw[3][row][octet][k] = make_uint4(0, 0, 0, 0);
            }
        }
        {
            float x[8];
            float r[8];
            float dy[8];
            float bias[8];
            unpack8<T>(raw[0][row][octet], x);
            unpack8<T>(raw[1][row][octet], r);
            unpack8<T>(raw[3][row][octet], dy);
            take_octet(sh.bias, bias);
            if (gate) {
                float z[8];
                float w[8];
                unpack8<T>(raw[2][row][octet], z);
#pragma unroll
                for (int k = 0; k < 8; ++k) {
                    const float s = sigmoid(z[k]);
                    w[k] = dy[k] * s;
                    dy[k] = w[k] * z[k];
                    w[k] *= fmaf(z[k], 1.0F - s, 1.0F);
                }
                // What dz takes lies where z (and in bf16 dy) has been read.
                *reinterpret_cast<float4*>(&raw[2][row][octet][0]) =
                    make_float4(w[0], w[1], w[2], w[3]);
                *reinterpret_cast<float4*>(kOctet == 1 ? &raw[3][row][octet][0]
                                                       : &raw[2][row][octet][kOctet - 1]) =
                    make_float4(w[4], w[5], w[6], w[7]);
            }
            float2* const in = reinterpret_cast<float2*>(sh.in[row]) + pair;
            float2* const out = reinterpret_cast<float2*>(sh.out[row]) + pair;
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                const float delta = grad_softplus<T>(r[k] + bias[k]);
                x[k] *= delta;
                in[2 * k] = make_float2(delta, x[k]);
                out[2 * k] = make_float2(dy[k], delta);
            }
            Operand<4, kSplit> column_dx;
            Operand<4, kSplit> column_dy;
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                column_dx.set(k, x[2 * k], x[2 * k + 1]);
                column_dy.set(k, dy[2 * k], dy[2 * k + 1]);
            }
            const auto keep_columns = [&](unsigned(&to)[kBackStage][kColumnStride],
                                          const unsigned(&v)[4]) {
                *reinterpret_cast<uint4*>(&to[row][octet * 4]) = make_uint4(v[0], v[1], v[2], v[3]);
            };
            keep_columns(sh.column_dx[0], column_dx.high);
            keep_columns(sh.column_dy[0], column_dy.high);
            if constexpr (kSplit) {
                keep_columns(sh.column_dx[1], column_dx.low);
                keep_columns(sh.column_dy[1], column_dy.low);
                keep_columns(sh.column_dx[2], column_dx.rest);
                keep_columns(sh.column_dy[2], column_dy.rest);
            }
            if (p.segment != nullptr && there && begin + first + row > 0) {
                const std::int32_t* const ids =
                    p.segment + b * p.segment_stride + begin + first + row;
                if (ids[0] != ids[-1]) {
#pragma unroll
                    for (int k = 0; k < 8; ++k) {
                        in[2 * k].x = __int_as_float(0x7f800000);  // a = 0
                    }
                }
            }
        }
        if (carries_bc) {
            float value[8];
            unpack8<__nv_bfloat16>(&sh.raw_bc[stage % kBuffers][tid], value);
            if constexpr (sizeof(T) == 4) {
                const float4 v =
                    *reinterpret_cast<const float4*>(&sh.raw_bc[stage % kBuffers][tid]);
                value[0] = v.x;
                value[1] = v.y;
                value[2] = v.z;
                value[3] = v.w;
            }
            float* const to = (bc_is_c ? sh.c : sh.b)[bc_row] + bc_n;
#pragma unroll
            for (int k = 0; k < kPerWord; ++k) {
                to[k] = first + bc_row < count && bc_n + k < states ? value[k] : 0.0F;
            }
        }
        __syncthreads();
        if (kBuffers == 2 && stage > 0) {
            fetch(stage - 1);
        }
        // 2. The recurrence, eight positions forward, eight back.
#pragma unroll 1
        for (int t0 = kBackStage - kKept; t0 >= 0; t0 -= kKept) {
            const float4 kept0 = sh.kept[stage % kBuffers][t0 / kKept][warp * 64 + lane];
            const float4 kept1 = sh.kept[stage % kBuffers][t0 / kKept][warp * 64 + 32 + lane];
            float h[2][4] = {{kept0.x, kept0.y, kept0.z, kept0.w},
                             {kept1.x, kept1.y, kept1.z, kept1.w}};
            const float4* const in = &sh.in[t0][warp * 9 + group];
            const float4* const out = &sh.out[t0][warp * 9 + group];
            const float4* const bs = reinterpret_cast<const float4*>(&sh.b[t0][4 * quad]);
            const float4* const cs = reinterpret_cast<const float4*>(&sh.c[t0][4 * quad]);
            float4* const sum = &sh.sum[0][t0 / 2][warp * 9 + group];
            float2* const bc = &sh.bc[warp][0][t0 + quad][group];
            float a[kKept][2][4];
            float before[kKept][2][4];  // the state before each position
            // Operands of eight columns, with those of even, of odd positions only.
            struct Columns {
                Operand<2, kSplit> even, odd;
            };
            const auto masked = [&](const Operand<2, kSplit>& all) {
                Columns to = {all, all};
                to.even.mask(even_columns);
                to.odd.mask(~even_columns);
                return to;
            };
            const auto columns_of_states = [&](const float(&from)[kBackStage][kBackStates]) {
                const float4 v = *reinterpret_cast<const float4*>(&from[t0 + group][4 * quad]);
                Operand<2, kSplit> all;
                all.set(0, v.x, v.y);
                all.set(1, v.z, v.w);
                return masked(all);
            };
            // Columns 2j, 2j + 1: channels 0..7, 8..15 at position j of four.
            const auto channels_at = [&](const auto& from, int t) {
                Operand<1, kSplit> at;
                at.high[0] = from[0][t0 + t + group / 2][warp * 8 + group % 2 * 4 + quad];
                if constexpr (kSplit) {
                    at.low[0] = from[1][t0 + t + group / 2][warp * 8 + group % 2 * 4 + quad];
                    at.rest[0] = from[2][t0 + t + group / 2][warp * 8 + group % 2 * 4 + quad];
                }
                return at;
            };
            // Adds position t's sums over channels to those of its four; the rows of a half are
            // both its states' for channels 0..7 and, eight further, for channels 8..15.
            float d_low[4];
            float d_high[4];
            Operand<2, kSplit> low;
            Operand<2, kSplit> high;
            const auto sum_channels = [&](const Operand<1, kSplit>& four, int t, bool is_first) {
                Operand<1, kSplit> at = four;
                at.mask(position_mask[t % 4]);
                if (is_first) {
                    multiply<false>(d_low, low, at);
                    multiply<false>(d_high, high, at);
                } else {
                    multiply<true>(d_low, low, at);
                    multiply<true>(d_high, high, at);
                }
            };
            const auto fragment_of = [&](const float(&v)[2][4]) {
                Operand<4, kSplit> fragment;
                fragment.set(0, v[0][0], v[0][1]);
                fragment.set(1, v[1][0], v[1][1]);
                fragment.set(2, v[0][2], v[0][3]);
                fragment.set(3, v[1][2], v[1][3]);
                return fragment;
            };
            // Column t of a product is position t's; t and t + 1 are one thread's neighbours.
            const auto put = [&](float4* to, int t, const float(&d)[4]) {
                if (quad == t / 2) {
                    *to = make_float4(d[0], d[1], d[2], d[3]);
                }
            };
            // The products with transposes come a step late: their operand takes its time.
            {
                const Columns c_columns = columns_of_states(sh.c);
                Operand<1, kSplit> dy_four;
                float d[4];
                float4 flow = in[0];
                float4 b4 = bs[0];
#pragma unroll
                for (int t = 0; t <= kKept; ++t) {
                    const float4 now = flow;
                    const float bn[4] = {b4.x, b4.y, b4.z, b4.w};
                    if (t + 1 < kKept) {
                        flow = in[(t + 1) * kPairStride];
                        b4 = bs[(t + 1) * (kBackStates / 4)];
                    }
                    if (t < kKept) {
#pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            a[t][0][i] = exp2_approx(now.x * a2[0][i]);
                            a[t][1][i] = exp2_approx(now.z * a2[1][i]);
                            before[t][0][i] = h[0][i];
                            before[t][1][i] = h[1][i];
                            h[0][i] = fmaf(a[t][0][i], h[0][i], bn[i] * now.y);
                            h[1][i] = fmaf(a[t][1][i], h[1][i], bn[i] * now.w);
                        }
                    }
                    if (t > 0) {
                        sum_channels(dy_four, t - 1, t % 4 == 1);
                    }
                    if (t % 4 == 0) {
                        if (t > 0) {
                            bc[(kBackStage + t - 4) * 8] =
                                make_float2(d_low[0] + d_low[3], d_high[0] + d_high[3]);
                        }
                        if (t < kKept) {
                            dy_four = channels_at(sh.column_dy, t);
                        }
                    }
                    if (t < kKept) {
                        const Operand<4, kSplit> fragment = fragment_of(h);
                        low = transpose<0>(fragment, one);
                        high = transpose<1>(fragment, one);
                        if (t % 2 == 0) {
                            multiply<false>(d, fragment, c_columns.even);
                        } else {
                            multiply<true>(d, fragment, c_columns.odd);
                            put(sum + t / 2 * kPairStride, t - 1, d);
                        }
                    }
                }
            }
            {
                const Columns b_columns = columns_of_states(sh.b);
                Operand<1, kSplit> dx_four;
                float d[4];
                float d_decay[4];
                float4 flow = out[(kKept - 1) * kPairStride];
                float4 c4 = cs[(kKept - 1) * (kBackStates / 4)];
#pragma unroll
                for (int t = kKept - 1; t >= -1; --t) {
                    const float4 now = flow;
                    const float cn[4] = {c4.x, c4.y, c4.z, c4.w};
                    if (t > 0) {
                        flow = out[(t - 1) * kPairStride];
                        c4 = cs[(t - 1) * (kBackStates / 4)];
                    }
                    float gn[2][4];
                    float decay[2] = {};
                    if (t >= 0) {
#pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            gn[0][i] = fmaf(cn[i], now.x, ag[0][i]);
                            gn[1][i] = fmaf(cn[i], now.z, ag[1][i]);
                            ag[0][i] = gn[0][i] * a[t][0][i];
                            ag[1][i] = gn[1][i] * a[t][1][i];
                            const float gah0 = ag[0][i] * before[t][0][i];
                            const float gah1 = ag[1][i] * before[t][1][i];
                            da[0][i] = fmaf(now.y, gah0, da[0][i]);
                            da[1][i] = fmaf(now.w, gah1, da[1][i]);
                            decay[0] = fmaf(a2[0][i], gah0, decay[0]);
                            decay[1] = fmaf(a2[1][i], gah1, decay[1]);
                        }
                    }
                    if (t < kKept - 1) {
                        sum_channels(dx_four, t + 1, (t + 1) % 4 == 3);
                    }
                    if ((t + 1) % 4 == 0) {
                        if (t < kKept - 1) {
                            bc[(t + 1) * 8] =
                                make_float2(d_low[0] + d_low[3], d_high[0] + d_high[3]);
                        }
                        if (t >= 0) {
                            dx_four = channels_at(sh.column_dx, t - 3);
                        }
                    }
                    if (t >= 0) {
                        const Operand<4, kSplit> fragment = fragment_of(gn);
                        low = transpose<0>(fragment, one);
                        high = transpose<1>(fragment, one);
                        if (t % 2 == 1) {
                            multiply<false>(d, fragment, b_columns.odd);
                            sum_group<false, kSplit>(d_decay, decay[0], decay[1], 1.0F - even_one);
                        } else {
                            multiply<true>(d, fragment, b_columns.even);
                            sum_group<true, kSplit>(d_decay, decay[0], decay[1], even_one);
                            constexpr int kNext = kBackStage / 2 * kPairStride;
                            put(sum + kNext + t / 2 * kPairStride, t, d);
                            put(sum + 2 * kNext + t / 2 * kPairStride, t, d_decay);
                        }
                    }
                }
            }
        }
        __syncthreads();
        // 3. Rows out.
        constexpr int kNext = kBackStage / 2 * kPairStride * 4;
        const float* const sum =
            reinterpret_cast<const float*>(&sh.sum[0][row / 2][octet / 2 * 9]) + octet % 2 * 2 +
            row % 2;
        float y[8];
        float du[8];
        float decay[8];
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            y[k] = sum[4 * k];
            du[k] = sum[4 * k + kNext];
            decay[k] = sum[4 * k + 2 * kNext];
        }
        {
            float4 total = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
#pragma unroll
            for (int w = 0; w < kBackWarps; ++w) {
                const float4 v = reinterpret_cast<const float4*>(&sh.bc[w][0][0][0])[tid];
                total = make_float4(total.x + v.x, total.y + v.y, total.z + v.z, total.w + v.w);
            }
            const std::int64_t place =
                (static_cast<std::int64_t>(window_index) * p.batch + b) * p.stages +
                begin / kBackStage + stage;
            store_16(p.bc_parts + place * (2 * kBackStates * kBackStage) + tid * 4, total.x,
                     total.y, total.z, total.w);
        }
        if (first + row >= rows || columns == 0) {
            continue;
        }
        if (!kVector && p.state_sums != nullptr) {
            const std::int64_t lane_rows = static_cast<std::int64_t>(p.batch) * p.length;
            float* const sums =
                p.state_sums + (b * p.length + begin + first + row) * p.inner + column;
            const bool more = p.first_state + kBackStates < p.states;
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                if (k < columns) {
                    float* const at[3] = {sums + k, sums + lane_rows * p.inner + k,
                                          sums + 2 * lane_rows * p.inner + k};
                    if (p.first_state > 0) {
                        y[k] += *at[0];
                        du[k] += *at[1];
                        decay[k] += *at[2];
                    }
                    if (more) {
                        *at[0] = y[k];
                        *at[1] = du[k];
                        *at[2] = decay[k];
                    }
                }
            }
            if (more) {
                continue;
            }
        }
        float x[8];
        float dr[8];
        float skip[8];
        float sum_d[8];
        const float2* const out = reinterpret_cast<const float2*>(sh.out[row]) + pair;
        unpack8<T>(raw[0][row][octet], x);
        take_octet(sh.skip, skip);
        if constexpr (sizeof(T) == 4) {
            float bias[8];
            unpack8<T>(raw[1][row][octet], dr);
            take_octet(sh.bias, bias);
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                dr[k] = sigmoid(dr[k] + bias[k]);
            }
        }
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            const float2 dy_delta = out[2 * k];
            if constexpr (sizeof(T) == 2) {  // the cancellation is below bf16
                dr[k] = 1.0F - exp2_approx(dy_delta.y * -kLog2e);
            }
            dr[k] *= fmaf(x[k], du[k], decay[k] * kLn2);
            du[k] = fmaf(skip[k], dy_delta.x, dy_delta.y * du[k]);
            y[k] = fmaf(skip[k], x[k], y[k]);
            sum_d[k] = dy_delta.x * x[k];
        }
        put_row(4, p.dx, first, du);
        put_row(5, p.ddt_raw, first, dr);
        if (gate) {
            const float4 low = *reinterpret_cast<const float4*>(&raw[2][row][octet][0]);
            const float4 high = *reinterpret_cast<const float4*>(
                kOctet == 1 ? &raw[3][row][octet][0] : &raw[2][row][octet][kOctet - 1]);
            const float dz[8] = {y[0] * low.x,  y[1] * low.y,  y[2] * low.z,  y[3] * low.w,
                                 y[4] * high.x, y[5] * high.y, y[6] * high.z, y[7] * high.w};
            put_row(6, p.dz, first, dz);
        }
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            float4& to_d = sh.parameter[k][tid];
            float4& to_bias = sh.parameter[2 + k][tid];
            const float4 d4 = to_d;
            const float4 bias4 = to_bias;
            to_d = make_float4(d4.x + sum_d[4 * k], d4.y + sum_d[4 * k + 1],
                               d4.z + sum_d[4 * k + 2], d4.w + sum_d[4 * k + 3]);
            to_bias = make_float4(bias4.x + dr[4 * k], bias4.y + dr[4 * k + 1],
                                  bias4.z + dr[4 * k + 2], bias4.w + dr[4 * k + 3]);
        }
    }

    const std::int64_t tile_row = static_cast<std::int64_t>(b) * p.tiles + tile;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const int e = e0 + 8 * k;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int n = 4 * quad + i;
            if (e < p.inner && n < states) {
                p.a_parts[(tile_row * p.inner + e) * p.states + p.first_state + n] =
                    da[k][i] * a2[k][i] * kLn2;
            }
        }
    }
    if (p.first_state + kBackStates < p.states) {
        return;
    }
    __syncthreads();
    const int which = tid / kBackChannels;  // dd, ddt_bias
    const int channel = tid % kBackChannels;
    float total = 0.0F;
    for (int i = 0; i < kBackStage; ++i) {
        const float4 v = sh.parameter[which * 2 + channel % 8 / 4][i * 8 + channel / 8];
        const float values[4] = {v.x, v.y, v.z, v.w};
        total += channel % 4 == 0   ? values[0]
                 : channel % 4 == 1 ? values[1]
                 : channel % 4 == 2 ? values[2]
                                    : values[3];
    }
    if (window + channel < p.inner) {
        p.de_parts[(tile_row * 2 + which) * p.inner + window + channel] = total;
    }
}

}  // namespace mambase::cuda
