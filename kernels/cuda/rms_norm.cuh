// Residual addition and RMS norm. A warp owns a row; a thread has four neighbouring channels of
// every 128, in registers, whether it reads them as a vector or one by one, so that the sums are
// the same.
#pragma once

#include "kernels/cuda/device/rows.cuh"

namespace mambase::cuda {

constexpr int kNormWarps = 8;     // of a block
constexpr int kNormChannels = 4;  // neighbouring ones of a thread
constexpr int kNormGroup = kWarp * kNormChannels;
constexpr int kNormMaxGroups = 8;  // of 128 channels that are kept in registers
constexpr int kNormPart = 128;     // rows of a block of the backward

template <class THidden, class TOut>
struct RmsNormParams {
    LaneRows<const THidden> hidden;  // may be absent
    LaneRows<const float> residual_in;
    LaneRows<const std::uint8_t> ids;  // may be absent; with them residual_in is [V,D]
    LaneRows<float> residual_out;      // may be absent
    LaneRows<TOut> y;
    const float* weight;  // [D]
    float* rstd;          // [B,T] or null
    float eps;
    std::int64_t length, width;
    unsigned lane_blocks;
};

template <class T>
struct RmsNormGradParams {
    LaneRows<const float> residual_out;
    LaneRows<const T> dy;
    LaneRows<const float> dresidual_out;  // may be absent, may be dx
    LaneRows<float> dx;
    LaneRows<__nv_bfloat16> dx_bf16;  // may be absent
    const float* weight;              // [D]
    const float* rstd;                // [B,T]
    float* dot;    // [B,T] mean(x̂·g) of rows wider than the registers; else null
    float* parts;  // [B, parts of a lane, D]
    std::int64_t length, width;
    unsigned lane_blocks;
};

/// The channels of this thread in one group: all four or none with vectors, else those of the row.
template <bool IsVector, class T>
__device__ __forceinline__ void load_channels(const T* row,
                                              std::int64_t channel,
                                              std::int64_t width,
                                              float (&out)[kNormChannels]) {
    if (IsVector && channel < width) {
        load_own(row + channel, out);
        return;
    }
#pragma unroll
    for (int i = 0; i < kNormChannels; ++i) {
        out[i] = !IsVector && channel + i < width ? to_float(row[channel + i]) : 0.0F;
    }
}

template <bool IsVector, class T>
__device__ __forceinline__ void store_channels(T* row,
                                               std::int64_t channel,
                                               std::int64_t width,
                                               const float (&in)[kNormChannels]) {
    if (IsVector && channel < width) {
        store(row + channel, in);
        return;
    }
#pragma unroll
    for (int i = 0; i < kNormChannels; ++i) {
        if (!IsVector && channel + i < width) {
            row[channel + i] = from_float<T>(in[i]);
        }
    }
}

template <class THidden, class TOut>
__device__ __forceinline__ const float* residual_row(const RmsNormParams<THidden, TOut>& p,
                                                     std::int64_t lane,
                                                     std::int64_t t) {
    return p.ids ? p.residual_in.row(__ldg(p.ids.row(lane, t)), 0) : p.residual_in.row(lane, t);
}

/// residual_in + hidden.
template <bool IsVector, class THidden, class TOut>
__device__ __forceinline__ void load_sum(const RmsNormParams<THidden, TOut>& p,
                                         std::int64_t lane,
                                         std::int64_t t,
                                         std::int64_t channel,
                                         float (&x)[kNormChannels]) {
    if (p.residual_out) {  // where it may have been written over residual_in
        load_channels<IsVector>(p.residual_out.row(lane, t), channel, p.width, x);
        return;
    }
    load_channels<IsVector>(residual_row(p, lane, t), channel, p.width, x);
    if (p.hidden) {
        float hidden[kNormChannels] = {};
        load_channels<IsVector>(p.hidden.row(lane, t), channel, p.width, hidden);
#pragma unroll
        for (int i = 0; i < kNormChannels; ++i) {
            x[i] += hidden[i];
        }
    }
}

/// residual_in + hidden, stored where asked for; returns this thread's part of the sum of squares.
template <int Groups, bool IsVector, class THidden, class TOut>
__device__ __forceinline__ float add_residual(const RmsNormParams<THidden, TOut>& p,
                                              std::int64_t lane,
                                              std::int64_t t,
                                              std::int64_t first,
                                              float (&x)[Groups][kNormChannels]) {
    float hidden[Groups][kNormChannels] = {};
    const float* const residual = residual_row(p, lane, t);
#pragma unroll
    for (int g = 0; g < Groups; ++g) {
        const std::int64_t channel = first + g * kNormGroup;
        load_channels<IsVector>(residual, channel, p.width, x[g]);
        if (p.hidden) {
            load_channels<IsVector>(p.hidden.row(lane, t), channel, p.width, hidden[g]);
        }
    }
    float squares = 0.0F;
#pragma unroll
    for (int g = 0; g < Groups; ++g) {
#pragma unroll
        for (int i = 0; i < kNormChannels; ++i) {
            x[g][i] += hidden[g][i];
            squares = fmaf(x[g][i], x[g][i], squares);
        }
        if (p.residual_out) {
            store_channels<IsVector>(p.residual_out.row(lane, t), first + g * kNormGroup, p.width,
                                     x[g]);
        }
    }
    return squares;
}

template <int Groups, bool IsVector, class THidden, class TOut>
__global__ __launch_bounds__(kWarp* kNormWarps) void rms_norm_forward_kernel(
    RmsNormParams<THidden, TOut> p) {
    const std::int64_t lane = blockIdx.x / p.lane_blocks;
    const std::int64_t t =
        static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kNormWarps + threadIdx.y;
    if (t >= p.length) {
        return;
    }
    constexpr int kSlab = Groups * kNormGroup;
    const std::int64_t channel = threadIdx.x * kNormChannels;
    float x[Groups][kNormChannels];
    float squares = 0.0F;
    for (std::int64_t slab = 0; slab < p.width; slab += kSlab) {
        squares += add_residual<Groups, IsVector>(p, lane, t, slab + channel, x);
    }
    squares = warp_sum(squares);
    const float rstd = rsqrtf(squares / static_cast<float>(p.width) + p.eps);
    if (p.rstd != nullptr && threadIdx.x == 0) {
        p.rstd[lane * p.length + t] = rstd;
    }
    const bool is_kept = p.width <= kSlab;
    for (std::int64_t slab = 0; slab < p.width; slab += kSlab) {
#pragma unroll
        for (int g = 0; g < Groups; ++g) {
            const std::int64_t at = slab + channel + g * kNormGroup;
            float weight[kNormChannels];
            load_channels<IsVector>(p.weight, at, p.width, weight);
            if (!is_kept) {
                load_sum<IsVector>(p, lane, t, at, x[g]);
            }
#pragma unroll
            for (int i = 0; i < kNormChannels; ++i) {
                x[g][i] = x[g][i] * rstd * weight[i];
            }
            store_channels<IsVector>(p.y.row(lane, t), at, p.width, x[g]);
        }
    }
}

/// What the gradient of one row needs of one slab of it.
template <int Groups, bool IsVector, class T>
struct RmsNormRow {
    float normed[Groups][kNormChannels];  // x̂
    float dy[Groups][kNormChannels];
    float g[Groups][kNormChannels];  // weight·dy

    /// Returns this thread's part of Σ x̂·g.
    __device__ __forceinline__ float load(const RmsNormGradParams<T>& p,
                                          std::int64_t lane,
                                          std::int64_t t,
                                          float rstd,
                                          std::int64_t first) {
        float dot = 0.0F;
#pragma unroll
        for (int group = 0; group < Groups; ++group) {
            const std::int64_t at = first + group * kNormGroup;
            load_channels<IsVector>(p.residual_out.row(lane, t), at, p.width, normed[group]);
            load_channels<IsVector>(p.dy.row(lane, t), at, p.width, dy[group]);
            load_channels<IsVector>(p.weight, at, p.width, g[group]);
        }
#pragma unroll
        for (int group = 0; group < Groups; ++group) {
#pragma unroll
            for (int i = 0; i < kNormChannels; ++i) {
                normed[group][i] *= rstd;
                g[group][i] *= dy[group][i];
                dot = fmaf(normed[group][i], g[group][i], dot);
            }
        }
        return dot;
    }
};

/// mean(x̂·g) of every row, for rows that do not fit one slab.
template <int Groups, bool IsVector, class T>
__global__ __launch_bounds__(kWarp* kNormWarps) void rms_norm_dot_kernel(RmsNormGradParams<T> p) {
    const std::int64_t lane = blockIdx.x / p.lane_blocks;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kNormPart;
    const std::int64_t end = min(first + kNormPart, p.length);
    for (std::int64_t t = first + threadIdx.y; t < end; t += kNormWarps) {
        const float rstd = p.rstd[lane * p.length + t];
        RmsNormRow<Groups, IsVector, T> row;
        float dot = 0.0F;
        for (std::int64_t slab = 0; slab < p.width; slab += Groups * kNormGroup) {
            dot += row.load(p, lane, t, rstd, slab + threadIdx.x * kNormChannels);
        }
        dot = warp_sum(dot) / static_cast<float>(p.width);
        if (threadIdx.x == 0) {
            p.dot[lane * p.length + t] = dot;
        }
    }
}

/// A block has kNormPart rows and one slab of channels: a warp every eighth row, from left to
/// right; the warps' sums for dweight are then added in order.
template <int Groups, bool IsVector, class T>
__global__ __launch_bounds__(kWarp* kNormWarps) void rms_norm_backward_kernel(
    RmsNormGradParams<T> p) {
    constexpr int kSlab = Groups * kNormGroup;
    __shared__ float sums[kNormWarps][kSlab];
    const std::int64_t lane = blockIdx.x / p.lane_blocks;
    const std::int64_t lo = static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kNormPart;
    const std::int64_t end = min(lo + kNormPart, p.length);
    const std::int64_t slab = static_cast<std::int64_t>(blockIdx.y) * kSlab;
    const std::int64_t first = slab + threadIdx.x * kNormChannels;
    float dweight[Groups][kNormChannels] = {};
    for (std::int64_t t = lo + threadIdx.y; t < end; t += kNormWarps) {
        const float rstd = __ldg(p.rstd + lane * p.length + t);
        RmsNormRow<Groups, IsVector, T> row;
        float add[Groups][kNormChannels] = {};
#pragma unroll
        for (int g = 0; g < Groups && p.dresidual_out; ++g) {
            load_channels<IsVector>(p.dresidual_out.row(lane, t), first + g * kNormGroup, p.width,
                                    add[g]);
        }
        float dot = row.load(p, lane, t, rstd, first);
        dot = p.dot != nullptr ? p.dot[lane * p.length + t]
                               : warp_sum(dot) / static_cast<float>(p.width);
#pragma unroll
        for (int g = 0; g < Groups; ++g) {
#pragma unroll
            for (int i = 0; i < kNormChannels; ++i) {
                dweight[g][i] = fmaf(row.dy[g][i], row.normed[g][i], dweight[g][i]);
                add[g][i] = fmaf(fmaf(-row.normed[g][i], dot, row.g[g][i]), rstd, add[g][i]);
            }
            const std::int64_t at = first + g * kNormGroup;
            store_channels<IsVector>(p.dx.row(lane, t), at, p.width, add[g]);
            if (p.dx_bf16) {
                store_channels<IsVector>(p.dx_bf16.row(lane, t), at, p.width, add[g]);
            }
        }
    }
#pragma unroll
    for (int g = 0; g < Groups; ++g) {
#pragma unroll
        for (int i = 0; i < kNormChannels; ++i) {
            sums[threadIdx.y][g * kNormGroup + threadIdx.x * kNormChannels + i] = dweight[g][i];
        }
    }
    __syncthreads();
    float* const out = p.parts + blockIdx.x * p.width + slab;
    for (int i = threadIdx.y * kWarp + threadIdx.x; i < kSlab && slab + i < p.width;
         i += kWarp * kNormWarps) {
        float sum = 0.0F;
        for (int warp = 0; warp < kNormWarps; ++warp) {
            sum += sums[warp][i];
        }
        out[i] = sum;
    }
}

}  // namespace mambase::cuda
