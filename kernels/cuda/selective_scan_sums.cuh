// Selective scan, backward: the blocks' parts added, always in the same order.
// B lanes, T positions, E channels, N states.
#pragma once

#include "kernels/cuda/selective_scan_grad.cuh"

namespace mambase::cuda {

/// State of row `n` of a partial: the states of a pass in the order in which a fragment's rows hold
/// them.
__device__ __forceinline__ int state_of_row(int n) {
    return n % 8 / 2 * 4 + n / 8 * 2 + n % 2;
}

/// db and dc of one stage of positions: the windows' parts added by ascending window.
template <class T>
__global__ void __launch_bounds__(128)
    selective_scan_sum_bc_kernel(const ScanGradParams<T> p, LaneRows<T> db, LaneRows<T> dc) {
    __shared__ float total[2 * kBackStates][kBackStage + 1];
    constexpr std::int64_t kPart = 2 * kBackStates * kBackStage;
    const int b = static_cast<int>(blockIdx.x / p.stages);
    const std::int64_t stage = blockIdx.x % p.stages;
    const std::int64_t first = stage * kBackStage;
    const std::int64_t valid = valid_length(p.valid, b, p.length);
    const int tid = static_cast<int>(threadIdx.x);
    float4 sum = make_float4(0.0F, 0.0F, 0.0F, 0.0F);
    if (first < valid) {
        const float* from = p.bc_parts + (b * p.stages + stage) * kPart + tid * 4;
        const std::int64_t window_stride = p.batch * p.stages * kPart;
#pragma unroll 4
        for (int k = 0; k < p.windows; ++k, from += window_stride) {
            const float4 v = *reinterpret_cast<const float4*>(from);
            sum.x += v.x;
            sum.y += v.y;
            sum.z += v.z;
            sum.w += v.w;
        }
    }
    const int which = tid / 64 * kBackStates;
    const int t = tid / 4 % kBackStage;
    const int row = tid % 4 * 2;
    total[which + state_of_row(row)][t] = sum.x;
    total[which + state_of_row(row + 8)][t] = sum.y;
    total[which + state_of_row(row + 1)][t] = sum.z;
    total[which + state_of_row(row + 9)][t] = sum.w;
    __syncthreads();
    const int states = min(kBackStates, p.states - p.first_state);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const int i = tid + k * 128;
        const int column = i % (2 * kBackStates);
        const std::int64_t position = first + i / (2 * kBackStates);
        const int state = column % kBackStates;
        if (position < p.length && state < states) {
            (column < kBackStates ? db : dc).row(b, position)[p.first_state + state] =
                static_cast<T>(position < valid ? total[column][i / (2 * kBackStates)] : 0.0F);
        }
    }
}

}  // namespace mambase::cuda
