#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/cuda/tile_sums.hpp"

namespace mambase::cuda {

namespace {

constexpr int kTiles = 32;  // of a block at once

struct PartSumsParams {
    PartSums sums;
    std::int64_t tile_parts;
    std::int64_t tiles;  // of a lane
};

/// A thread sums one element over the parts of one tile; the first row of threads chains the tiles.
__global__ __launch_bounds__(kWarp* kTiles) void add_part_sums_kernel(PartSumsParams p) {
    __shared__ double tile_sums[kTiles][kWarp];
    const PartSums& s = p.sums;
    const std::int64_t element = static_cast<std::int64_t>(blockIdx.x) * kWarp + threadIdx.x;
    double* const to =
        element < s.split ? s.out + element : (s.rest ? s.rest + (element - s.split) : nullptr);
    const bool is_used = element < s.count && to != nullptr;
    const bool is_chain = is_used && threadIdx.y == 0;
    double total = is_chain ? *to : 0.0;
    const std::int64_t sums = p.tiles * s.lanes;
    for (std::int64_t first = 0; first < sums; first += kTiles) {
        const std::int64_t at = first + threadIdx.y;
        if (at < sums && is_used) {
            const std::int64_t tile = p.tiles - 1 - at / s.lanes;
            const std::int64_t lo = tile * p.tile_parts;
            const std::int64_t hi = min(lo + p.tile_parts, s.lane_parts);
            const float* from = s.parts + (at % s.lanes * s.lane_parts + lo) * s.count + element;
            double sum = 0.0;
#pragma unroll 8
            for (std::int64_t part = lo; part < hi; ++part, from += s.count) {
                sum += static_cast<double>(__ldg(from));
            }
            tile_sums[threadIdx.y][threadIdx.x] = sum;
        }
        __syncthreads();
        if (is_chain) {
            const int here = static_cast<int>(min(std::int64_t{kTiles}, sums - first));
            for (int i = 0; i < here; ++i) {
                total += tile_sums[i][threadIdx.x];
            }
        }
        __syncthreads();
    }
    if (is_chain) {
        *to = total;
    }
}

}  // namespace

void add_part_sums(const char* op, const PartSums& sums, cudaStream_t stream) {
    MAMBASE_ASSERT(kGradientTile % sums.rows == 0);
    if (sums.count == 0 || sums.lanes == 0 || sums.lane_parts == 0) {
        return;
    }
    PartSumsParams p{};
    p.sums = sums;
    p.tile_parts = kGradientTile / sums.rows;
    p.tiles = ceil_div(sums.lane_parts, p.tile_parts);
    add_part_sums_kernel<<<grid_size(ceil_div(sums.count, kWarp)), dim3(kWarp, kTiles), 0,
                           stream>>>(p);
    check_launch(op, stream);
}

}  // namespace mambase::cuda
