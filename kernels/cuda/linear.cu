#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/linear_kernels.hpp"

#include <algorithm>
#include <cstdint>

#include <cuda_bf16.h>

namespace mambase::cuda {

namespace {

constexpr int kThreads = 256;
// Blocks of a kernel whose threads walk over all the elements.
constexpr std::int64_t kMostBlocks = 8192;
// Loads of a thread on their way at once.
constexpr int kLoads = 8;
// A block of the column sums: a warp reads neighbouring columns of a row, and its warps take turns
// at the rows.
constexpr int kSumColumns = 32;
constexpr int kSumWarps = 8;

unsigned blocks_for(std::int64_t threads) {
    return static_cast<unsigned>(std::min(ceil_div(threads, kThreads), kMostBlocks));
}

__device__ __forceinline__ std::int64_t first_thread() {
    return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

__device__ __forceinline__ std::int64_t all_threads() {
    return static_cast<std::int64_t>(gridDim.x) * kThreads;
}

__global__ void __launch_bounds__(kThreads) round_weight_kernel(RoundWeight p) {
    const std::int64_t groups = p.stride / 4;
    const bool vectors = p.columns % 4 == 0 && reinterpret_cast<std::uintptr_t>(p.from) % 16 == 0;
    for (std::int64_t n = first_thread(); n < p.rows * groups; n += all_threads()) {
        const std::int64_t column = n % groups * 4;
        const float* const from = p.from + n / groups * p.columns + column;
        float value[4] = {};
        if (vectors && column < p.columns) {
            const float4 all = *reinterpret_cast<const float4*>(from);
            value[0] = all.x;
            value[1] = all.y;
            value[2] = all.z;
            value[3] = all.w;
        } else {
            for (int i = 0; i < 4; ++i) {
                value[i] = column + i < p.columns ? from[i] : 0.0F;
            }
        }
        const float low[2] = {value[0], value[1]};
        const float high[2] = {value[2], value[3]};
        using Pair = Pack<__nv_bfloat16, 2>;
        static_cast<uint2*>(p.to)[n] = make_uint2(Pair::pack(low), Pair::pack(high));
    }
}

template <class Word>
__global__ void __launch_bounds__(kThreads) pack_rows_kernel(PackRows p) {
    const std::int64_t words = p.width / static_cast<std::int64_t>(sizeof(Word));
    for (std::int64_t n = first_thread(); n < p.lanes * p.rows * words; n += all_threads()) {
        const std::int64_t row = n / words;
        const std::int64_t word = n % words;
        const char* const from =
            p.from + row / p.rows * p.lane_stride + row % p.rows * p.row_stride;
        reinterpret_cast<Word*>(p.to + row * p.to_stride)[word] =
            reinterpret_cast<const Word*>(from)[word];
    }
}

__global__ void __launch_bounds__(kThreads) add_partials_kernel(AddPartials p) {
    const int lanes = static_cast<int>(p.lanes);
    const int tiles = static_cast<int>(p.tiles);
    const std::int64_t size = p.rows * p.stride;
    for (std::int64_t n = first_thread(); n < p.rows * p.columns; n += all_threads()) {
        const float* const partial = p.partials + n / p.columns * p.stride + n % p.columns;
        double sum = p.sum[n];
        for (int first = 0; first < lanes * tiles; first += kLoads) {
            float value[kLoads];
#pragma unroll
            for (int i = 0; i < kLoads; ++i) {
                const int at = min(first + i, lanes * tiles - 1);
                const int slot = at % lanes * tiles + tiles - 1 - at / lanes;
                value[i] = partial[slot * size];
            }
#pragma unroll
            for (int i = 0; i < kLoads; ++i) {
                if (first + i < lanes * tiles) {
                    sum += static_cast<double>(value[i]);
                }
            }
        }
        p.sum[n] = sum;
    }
}

template <class T>
__global__ void __launch_bounds__(kSumColumns* kSumWarps) column_sums_kernel(ColumnSums p) {
    const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kSumColumns + threadIdx.x;
    const std::int64_t begin = p.first_row + blockIdx.y * kGradientTile;
    const std::int64_t end = min(begin + kGradientTile, p.length);
    float sum = 0.0F;
    if (column < p.columns) {
        const T* const from = static_cast<const T*>(p.from) + blockIdx.z * p.lane_stride + column;
#pragma unroll 8
        for (std::int64_t row = begin + threadIdx.y; row < end; row += kSumWarps) {
            sum += to_float(from[row * p.row_stride]);
        }
    }
    __shared__ float sums[kSumWarps][kSumColumns];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < p.columns) {
        for (int warp = 1; warp < kSumWarps; ++warp) {
            sum += sums[warp][threadIdx.x];
        }
        p.partials[(blockIdx.z * p.tiles + blockIdx.y) * p.columns + column] = sum;
    }
}

template <class Word>
void pack_rows(const PackRows& params, cudaStream_t stream) {
    const std::int64_t words =
        params.lanes * params.rows * (params.width / static_cast<std::int64_t>(sizeof(Word)));
    pack_rows_kernel<Word><<<blocks_for(words), kThreads, 0, stream>>>(params);
}

}  // namespace

void launch_linear_round_weight(const RoundWeight& params, cudaStream_t stream) {
    const unsigned blocks = blocks_for(params.rows * params.stride / 4);
    round_weight_kernel<<<blocks, kThreads, 0, stream>>>(params);
    check_launch("linear (weight to bf16)", stream);
}

void launch_linear_pack_rows(const PackRows& params, cudaStream_t stream) {
    switch (params.word) {
        case 16:
            pack_rows<uint4>(params, stream);
            break;
        case 8:
            pack_rows<uint2>(params, stream);
            break;
        case 4:
            pack_rows<std::uint32_t>(params, stream);
            break;
        default:
            pack_rows<std::uint16_t>(params, stream);
            break;
    }
    check_launch("linear backward (rows of a tile)", stream);
}

void launch_linear_add_partials(const AddPartials& params, cudaStream_t stream) {
    add_partials_kernel<<<blocks_for(params.rows * params.columns), kThreads, 0, stream>>>(params);
    check_launch("linear backward (sum of tiles)", stream);
}

void launch_linear_column_sums(const ColumnSums& params, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>(ceil_div(params.columns, kSumColumns)),
                    static_cast<unsigned>(params.tiles), static_cast<unsigned>(params.lanes));
    const dim3 block(kSumColumns, kSumWarps);
    if (params.dtype == DType::bf16) {
        column_sums_kernel<__nv_bfloat16><<<grid, block, 0, stream>>>(params);
    } else {
        column_sums_kernel<float><<<grid, block, 0, stream>>>(params);
    }
    check_launch("linear backward (bias)", stream);
}

}  // namespace mambase::cuda
