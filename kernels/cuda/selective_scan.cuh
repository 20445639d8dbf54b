// Selective scan, forward, channels last. B lanes, T positions, E channels, N states.
//
// The length is cut in tiles of kScanTile positions counted from the call's first row. Where there
// are several, pass 1 (selective_scan_ends.cuh) leaves the state at each tile's start; pass 2,
// here, scans every tile from there. A lane of a warp owns one or two neighbouring channels with
// all their states in registers. A warp is a block and waits for nobody.
//
// What bounds it: an exponential a (position, channel, state), and those of softplus and gate.
// Everything else is arranged to stay below that: rows come by asynchronous copies of 16 bytes, b
// and c are widened once for 64 channels, and no branch parts a position's arithmetic from the
// next's.
#pragma once

#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/math.cuh"

#include <cstdint>

#include <cuda_runtime.h>

namespace mambase::cuda {

constexpr int kScanTile = 4096;
/// In training, whose chunks are shorter than what reading takes at once: four times the blocks a
/// chunk, for a first pass that takes longer.
constexpr int kTrainingScanTile = 1024;
constexpr int kKept = 8;        // forward keeps the state before every eighth position for backward
constexpr int kScanWarps = 12;  // a multiprocessor: more have too few registers, and are slower
constexpr int kScanManyStatesWarps = 8;
constexpr int kScanBatch = 4;  // positions whose delta are computed side by side
static_assert(kKept % kScanBatch == 0 && 32 % kKept == 0 && kScanTile % 32 == 0 &&
              kTrainingScanTile % 32 == 0);

// A border between packed runs is a delta after which nothing is left, so that it needs no branch.
constexpr float kForget = 3e38F;
constexpr float kSlowest = -1e-30F;  // of A·log2e: decays by nothing, yet kForget wins over it

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
    float* kept;                  // [B, ceil(T/kKept), E, kept_states_of(N)] or null: the state
                                  // before position kKept·i
    float* tile_state;            // [B,tiles,E,N]: the state that each tile starts from. null: one
                                  // tile, which starts from state_in
    float* tile_delta;            // [B,tiles,E]: Σ delta
    std::int64_t length;
    std::int64_t segment_stride;
    int tile;  // positions of a tile
    int tiles;
    int inner;
    int states;  // N as given; the kernel's N is at least this
    int batch;
    bool wide_rows;    // x, dt_raw and z can be read in units of 16 bytes
    bool wide_states;  // b and c can, and states is the kernel's N
};

/// Floats that a kept state takes.
__host__ __device__ constexpr int kept_states_of(int states) {
    return (states + 15) / 16 * 16;
}

/// Tiles whose end states pass 1 gives: those that another follows, and a whole last one where the
/// state after the call is asked for. A call that goes on from there then starts from the bits that
/// one call over both would start its next tile from.
template <class T>
__host__ __device__ __forceinline__ int ended_tiles(const ScanParams<T>& p) {
    const bool whole = p.tiles > 1 && p.length % p.tile == 0;
    return p.tiles - (p.state_out != nullptr && whole ? 0 : 1);
}

/// Positions of a lane that count.
template <class T>
__device__ __forceinline__ std::int64_t valid_length(const ScanParams<T>& p, std::int64_t b) {
    return p.valid != nullptr ? min(p.valid[b], p.length) : p.length;
}

/// Powers of two below which what is left of a state is dropped where a length is cut in tiles. For
/// activations in bf16 that is an error of 10^-6 of a state beside their own of 10^-3.
template <class T>
__device__ constexpr float vanished() {
    return sizeof(T) == 4 ? 26.0F : 20.0F;
}

/// A·log2e.
__device__ __forceinline__ float decay_of(float a_log) {
    return fminf(-expf(a_log) * kLog2e, kSlowest);
}

/// Those of a channel; what N has too many decays as little as can be, from zero to zero.
template <class T, int N>
__device__ __forceinline__ void load_decay(const ScanParams<T>& p, int channel, float (&a2)[N]) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
        a2[n] = channel < p.inner && n < p.states
                    ? decay_of(p.a_log[static_cast<std::int64_t>(channel) * p.states + n])
                    : kSlowest;
    }
}

/// A dt_raw whose delta is 0 whatever the bias.
template <class T>
__device__ __forceinline__ T lowest() {
    return static_cast<T>(-INFINITY);
}

/// Four neighbours in shared memory.
__device__ __forceinline__ float4 load_shared_4(const float* from) {
    return *reinterpret_cast<const float4*>(from);
}
__device__ __forceinline__ float4 load_shared_4(const __nv_bfloat16* from) {
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    return make_float4(__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000U),
                       __uint_as_float(v.y << 16), __uint_as_float(v.y & 0xffff0000U));
}

/// Stores without a branch: the compiler would move all that leads to the value behind one, away
/// from the special functions that it can hide under.
__device__ __forceinline__ void store_if(bool there, unsigned short* to, unsigned short value) {
    asm volatile("{.reg .pred p; setp.ne.s32 p, %2, 0; @p st.global.u16 [%0], %1;}" ::"l"(to),
                 "h"(value), "r"(static_cast<int>(there)));
}
__device__ __forceinline__ void store_if(bool there, unsigned* to, unsigned value) {
    asm volatile("{.reg .pred p; setp.ne.s32 p, %2, 0; @p st.global.u32 [%0], %1;}" ::"l"(to),
                 "r"(value), "r"(static_cast<int>(there)));
}
__device__ __forceinline__ void store_if(bool there, float* to, float value) {
    store_if(there, reinterpret_cast<unsigned*>(to), __float_as_uint(value));
}
__device__ __forceinline__ void store_if(bool there, float2* to, float2 value) {
    asm volatile(
        "{.reg .pred p; setp.ne.s32 p, %3, 0; @p st.global.v2.f32 [%0], {%1, %2};}" ::"l"(to),
        "f"(value.x), "f"(value.y), "r"(static_cast<int>(there)));
}

/// Positions that pass 2 has in shared memory at once, twice.
template <class T, int N, int Channels>
struct alignas(16) ScanStage {
    static constexpr int kRows = 16 / static_cast<int>(sizeof(T));
    static_assert(kRows % kScanBatch == 0);
    static constexpr int kColumns = 32 * Channels;
    T x[kRows][kColumns];
    T dt[kRows][kColumns];
    T z[kRows][kColumns];
    T bc[kRows][2 * N];
    std::int32_t segment[12];  // from that of the position before
};
template <class T, int N, int Channels, bool kKeep>
struct alignas(16) ScanShared {
    using Stage = ScanStage<T, N, Channels>;
    // A lane's states on their way to where they are kept; an odd number of vectors apart, so that
    // the lanes of an access lie in different banks. Only the usual N goes this way.
    static constexpr int kKeptPitch = kKeep && N == 16 ? Channels * N + 4 : 0;
    Stage ring[2];
    float bc[Stage::kRows][2 * N];  // widened
    float kept[kKeptPitch > 0 ? 32 : 1][kKeptPitch > 0 ? kKeptPitch : 4];
};

/// Blocks of pass 2.
template <int Channels>
constexpr std::int64_t scan_blocks(std::int64_t batch, int tiles, int inner) {
    return batch * tiles * ((inner + 32 * Channels - 1) / (32 * Channels));
}

/// Pass 2. A warp owns a tile of 32·Channels channels; a lane has Channels of them with all their
/// states.
template <class T, int N, int Channels, bool kPacked, bool kKeep>
__global__ void __launch_bounds__(32, N <= 16 ? kScanWarps : kScanManyStatesWarps)
    selective_scan_forward_kernel(ScanParams<T> p) {
    using P = Pack<T, Channels>;
    using Raw = typename P::Raw;
    using Stage = ScanStage<T, N, Channels>;
    constexpr int kRows = Stage::kRows;
    constexpr int kPer = 16 / static_cast<int>(sizeof(T));
    __shared__ ScanShared<T, N, Channels, kKeep> self;
    const int lane = static_cast<int>(threadIdx.x);
    const std::int64_t task = blockIdx.x;
    const int windows = (p.inner + 32 * Channels - 1) / (32 * Channels);
    const int window = static_cast<int>(task % windows) * 32 * Channels;
    const int tile = static_cast<int>(task / windows % p.tiles);
    const std::int64_t b = task / windows / p.tiles;
    const int channel = window + lane * Channels;
    const bool mine = channel < p.inner;
    const std::int64_t begin = static_cast<std::int64_t>(tile) * p.tile;
    const std::int64_t tile_end = min(begin + p.tile, p.length);
    const std::int64_t lane_end = valid_length(p, b);
    const int count =
        static_cast<int>(max(min(tile_end, lane_end) - begin, static_cast<std::int64_t>(0)));
    float a2[Channels][N];
    float h[Channels][N];
    float bias[Channels];
    float skip[Channels];
    {
        const float* const start =
            p.tile_state != nullptr
                ? p.tile_state + ((b * p.tiles + tile) * p.inner + channel) * p.states
                : (p.state_in != nullptr ? p.state_in + (b * p.inner + channel) * p.states
                                         : nullptr);
#pragma unroll
        for (int k = 0; k < Channels; ++k) {
            load_decay<T, N>(p, channel + k, a2[k]);
            const bool there = channel + k < p.inner;
            bias[k] = there ? p.dt_bias[channel + k] : 0.0F;
            skip[k] = there ? p.d[channel + k] : 0.0F;
#pragma unroll
            for (int n = 0; n < N; ++n) {
                h[k][n] =
                    there && start != nullptr && n < p.states ? start[k * p.states + n] : 0.0F;
            }
        }
    }
    // A lane's part of the copies.
    constexpr int kRowChunks = Stage::kColumns / kPer;
    constexpr int kRowStep = 32 / kRowChunks;
    constexpr int kStateChunks = 2 * N / kPer;
    constexpr int kStateStep = 32 / kStateChunks;
    const int copy_row = lane / kRowChunks;
    const int copy_column = lane % kRowChunks * kPer;
    const bool copies = window + copy_column < p.inner;
    const int state_row = lane / kStateChunks;
    const int state_column = lane % kStateChunks * kPer;
    const T* x_from = p.x.row(b, begin + copy_row) + window + copy_column;
    const T* dt_from = p.dt_raw.row(b, begin + copy_row) + window + copy_column;
    const bool gated = p.z.data != nullptr;
    const T* z_from = p.z.row(b, begin + copy_row) + window + copy_column;
    const T* bc_from = state_column < N ? p.b.row(b, begin + state_row) + state_column
                                        : p.c.row(b, begin + state_row) + state_column - N;
    const std::int64_t bc_stride = state_column < N ? p.b.row_stride : p.c.row_stride;
    const auto fetch = [&](int first) {  // in order: the pointers move on
        Stage& stage = self.ring[first / kRows % 2];
        const int left = count - first;
        // What lies behind the end has delta 0 and x 0, which leave the state as it is.
        if (p.wide_rows) {
#pragma unroll
            for (int i = 0; i < kRows / kRowStep; ++i) {
                const int row = copy_row + i * kRowStep;
                T* const x = &stage.x[row][copy_column];
                T* const dt = &stage.dt[row][copy_column];
                T* const z = &stage.z[row][copy_column];
                if (row < left && copies) {
                    copy_async_16(x, x_from + i * kRowStep * p.x.row_stride);
                    copy_async_16(dt, dt_from + i * kRowStep * p.dt_raw.row_stride);
                    if (gated) {
                        copy_async_16(z, z_from + i * kRowStep * p.z.row_stride);
                    }
                } else {
#pragma unroll
                    for (int n = 0; n < kPer; ++n) {
                        x[n] = z[n] = T(0.0F);
                        dt[n] = lowest<T>();
                    }
                }
            }
            x_from += kRows * p.x.row_stride;
            dt_from += kRows * p.dt_raw.row_stride;
            z_from += kRows * p.z.row_stride;
        } else {
            for (int i = lane; i < kRows * Stage::kColumns; i += 32) {
                const int row = i / Stage::kColumns;
                const int column = i % Stage::kColumns;
                const bool there = row < left && window + column < p.inner;
                const std::int64_t t = begin + first + row;
                stage.x[row][column] = there ? p.x.row(b, t)[window + column] : T(0.0F);
                stage.dt[row][column] = there ? p.dt_raw.row(b, t)[window + column] : lowest<T>();
                if (gated) {
                    stage.z[row][column] = there ? p.z.row(b, t)[window + column] : T(0.0F);
                }
            }
        }
        if (p.wide_states && left >= kRows) {
#pragma unroll
            for (int i = 0; i < kRows / kStateStep; ++i) {
                copy_async_16(&stage.bc[state_row + i * kStateStep][state_column],
                              bc_from + i * kStateStep * bc_stride);
            }
            bc_from += kRows * bc_stride;
        } else {
            for (int i = lane; i < kRows * 2 * N; i += 32) {
                const int row = i / (2 * N);
                const int n = i % N;
                const Rows<const T>& from = i % (2 * N) < N ? p.b : p.c;
                stage.bc[row][i % (2 * N)] =
                    row < left && n < p.states ? from.row(b, begin + first + row)[n] : T(0.0F);
            }
        }
        if constexpr (kPacked) {
            if (lane <= kRows) {
                const std::int64_t t =
                    min(max(begin + first + lane - 1, std::int64_t{0}), tile_end - 1);
                copy_async_4(&stage.segment[lane], p.segment + b * p.segment_stride + t);
            }
        }
    };
    const int kept_states = kept_states_of(p.states);
    float* const kept_from =
        kKeep
            ? p.kept + ((b * ((p.length + kKept - 1) / kKept) + begin / kKept) * p.inner + window) *
                           kept_states
            : nullptr;
    const auto keep = [&](int position) {
        float* const to =
            kept_from + static_cast<std::int64_t>(position / kKept) * p.inner * kept_states;
        if constexpr (N == 16) {
            // Through shared memory, so that a warp stores whole lines.
            __syncwarp();
#pragma unroll
            for (int i = 0; i < Channels * N; i += 4) {
                const float* const from = &h[i / N][i % N];
                *reinterpret_cast<float4*>(&self.kept[lane][i]) =
                    make_float4(from[0], from[1], from[2], from[3]);
            }
            __syncwarp();
#pragma unroll
            for (int i = 0; i < Channels * N / 4; ++i) {
                const int at = (i * 32 + lane) * 4;
                if (window + at / N < p.inner) {
                    *reinterpret_cast<float4*>(to + at) = *reinterpret_cast<const float4*>(
                        &self.kept[at / (Channels * N)][at % (Channels * N)]);
                }
            }
        } else if (mine) {
#pragma unroll
            for (int n = 0; n < N; n += 4) {
                if (n < kept_states) {
                    *reinterpret_cast<float4*>(to + lane * kept_states + n) =
                        make_float4(h[0][n], h[0][n + 1], h[0][n + 2], h[0][n + 3]);
                }
            }
        }
    };
    T* y_row = p.y.row(b, begin) + channel;
    if (count > 0) {
        fetch(0);
    }
    copy_async_commit();
    for (int first = 0; first < count; first += kRows) {
        __syncwarp();  // the stage before is used up
        if (first + kRows < count) {
            fetch(first + kRows);
        }
        copy_async_commit();
        copy_async_wait<1>();
        __syncwarp();
        const Stage& stage = self.ring[first / kRows % 2];
#pragma unroll
        for (int i = 0; i < kRows / kStateStep; ++i) {
            const int row = state_row + i * kStateStep;
#pragma unroll
            for (int n = 0; n < kPer; n += 4) {
                *reinterpret_cast<float4*>(&self.bc[row][state_column + n]) =
                    load_shared_4(&stage.bc[row][state_column + n]);
            }
        }
        unsigned borders = 0;
        if constexpr (kPacked) {
            // Not behind the end, where a border would take the state that the lane ends with.
            borders =
                __ballot_sync(0xffffffffU, lane < kRows && first + lane < count &&
                                               stage.segment[lane] != stage.segment[lane + 1]);
        }
        __syncwarp();
        const int stored = mine ? count - first : 0;  // positions of the stage to write
#pragma unroll 1
        for (int at = 0; at < kRows; at += kScanBatch) {
            if constexpr (kKeep) {
                if ((first + at) % kKept == 0 && first + at < count) {
                    if (kPacked && (borders >> at & 1U) != 0) {
                        // The backward pass has no decay that forgets what it reads here.
#pragma unroll
                        for (int k = 0; k < Channels; ++k) {
#pragma unroll
                            for (int n = 0; n < N; ++n) {
                                h[k][n] = 0.0F;
                            }
                        }
                    }
                    keep(first + at);
                }
            }
            float delta[kScanBatch][Channels];
            float dx[kScanBatch][Channels];
#pragma unroll
            for (int j = 0; j < kScanBatch; ++j) {
                float x[Channels];
                float r[Channels];
                P::unpack(*reinterpret_cast<const Raw*>(&stage.x[at + j][lane * Channels]), x);
                P::unpack(*reinterpret_cast<const Raw*>(&stage.dt[at + j][lane * Channels]), r);
#pragma unroll
                for (int k = 0; k < Channels; ++k) {
                    delta[j][k] = softplus(r[k] + bias[k]);
                    dx[j][k] = delta[j][k] * x[k];
                }
            }
#pragma unroll
            for (int j = 0; j < kScanBatch; ++j) {
                if constexpr (kPacked) {
                    // Set, not multiplied by a decay of 0: what is not finite ends here too.
                    if ((borders >> (at + j) & 1U) != 0) {
#pragma unroll
                        for (int k = 0; k < Channels; ++k) {
#pragma unroll
                            for (int n = 0; n < N; ++n) {
                                h[k][n] = 0.0F;
                            }
                        }
                    }
                }
                float out[Channels];
                P::unpack(*reinterpret_cast<const Raw*>(&stage.x[at + j][lane * Channels]), out);
#pragma unroll
                for (int k = 0; k < Channels; ++k) {
                    out[k] *= skip[k];
                }
#pragma unroll
                for (int n = 0; n < N; n += 4) {
                    const float4 b4 = load_shared_4(&self.bc[at + j][n]);
                    const float4 c4 = load_shared_4(&self.bc[at + j][N + n]);
                    const float bs[4] = {b4.x, b4.y, b4.z, b4.w};
                    const float cs[4] = {c4.x, c4.y, c4.z, c4.w};
#pragma unroll
                    for (int k = 0; k < Channels; ++k) {
#pragma unroll
                        for (int m = 0; m < 4; ++m) {
                            float& state = h[k][n + m];
                            const float decay = exp2_approx(delta[j][k] * a2[k][n + m]);
                            state = fmaf(decay, state, bs[m] * dx[j][k]);
                            out[k] = fmaf(cs[m], state, out[k]);
                        }
                    }
                }
                float z[Channels];
                P::unpack(*reinterpret_cast<const Raw*>(&stage.z[at + j][lane * Channels]), z);
#pragma unroll
                for (int k = 0; k < Channels; ++k) {
                    out[k] *= gated ? z[k] * sigmoid(z[k]) : 1.0F;
                }
                store_if(at + j < stored, reinterpret_cast<Raw*>(y_row), P::pack(out));
                y_row += p.y.row_stride;
            }
        }
    }
    // Rows from the lane's end on. Its last tile also holds its end state; a lane of no positions
    // passes its state on.
    const bool last = lane_end > 0 ? (begin < lane_end && lane_end <= begin + p.tile) : tile == 0;
#pragma unroll
    for (int k = 0; k < Channels; ++k) {
        if (channel + k < p.inner) {
            for (std::int64_t t = max(begin, lane_end); t < tile_end; ++t) {
                p.y.row(b, t)[channel + k] = T(0.0F);
            }
            if (p.state_out != nullptr && last &&
                (p.tiles == 1 || lane_end == 0 || lane_end % p.tile != 0)) {
#pragma unroll
                for (int n = 0; n < N; ++n) {
                    if (n < p.states) {
                        p.state_out[(b * p.inner + channel + k) * p.states + n] = h[k][n];
                    }
                }
            }
        }
    }
}

}  // namespace mambase::cuda
