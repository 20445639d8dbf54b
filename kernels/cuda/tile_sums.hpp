// Sums of parameters' gradients over the blocks of a launch, in the order that every backend keeps.
#pragma once

#include "kernels/cuda/cuda_ops.hpp"

#include <cstdint>

#include <cuda_runtime_api.h>

namespace mambase::cuda {

/// f32 sums over parts of a lane: `rows` rows each, counted from the call's first, a whole number
/// of them to a gradient tile.
struct PartSums {
    const float* parts = nullptr;  // [B, parts of a lane, count]
    std::int64_t lanes = 0;
    std::int64_t lane_parts = 0;
    std::int64_t rows = 0;
    std::int64_t count = 0;
    double* out = nullptr;   // [split] += the first elements
    std::int64_t split = 0;  //
    double* rest = nullptr;  // [count − split] += the others; may be absent
};

/// Adds the parts of a tile left to right in double precision, then the tiles by descending
/// position and ascending lane.
void add_part_sums(const char* op, const PartSums& sums, cudaStream_t stream);

}  // namespace mambase::cuda
