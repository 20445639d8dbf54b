// The kernels around the matrix products of `linear`.
#pragma once

#include "kernels/tensor/dtype.hpp"

#include <cstdint>

#include <cuda_runtime_api.h>

namespace mambase::cuda {

/// f32 [rows,columns] rounded to bf16 with rows `stride` apart, a multiple of 8; zeros between.
struct RoundWeight {
    const float* from;
    void* to;
    std::int64_t rows, columns, stride;
};
void launch_linear_round_weight(const RoundWeight& params, cudaStream_t stream);

/// Rows of lanes brought together: to[lane·rows + row] = from[lane, row]. In bytes but for counts;
/// `width`, strides and addresses are multiples of `word`: 2, 4, 8 or 16.
struct PackRows {
    const char* from;
    char* to;
    std::int64_t lanes, rows, width;
    std::int64_t lane_stride, row_stride, to_stride;
    std::int64_t word;
};
void launch_linear_pack_rows(const PackRows& params, cudaStream_t stream);

/// sum[row, column] += each partial[lane, tile, row, column], by descending tile, then ascending
/// lane. Rows of a partial are `stride` apart, those of the sum adjacent.
struct AddPartials {
    const float* partials;
    double* sum;
    std::int64_t lanes, tiles, rows, columns, stride;
};
void launch_linear_add_partials(const AddPartials& params, cudaStream_t stream);

/// partial[lane, tile, column] = sum over the rows of the tile of from[lane, row, column], for
/// `tiles` tiles of kGradientTile rows from `first_row` on, the last one cut at `length`.
struct ColumnSums {
    const void* from;  // of lane 0, row 0
    DType dtype;
    float* partials;
    std::int64_t lanes, tiles, first_row, length, columns;
    std::int64_t lane_stride, row_stride;
};
void launch_linear_column_sums(const ColumnSums& params, cudaStream_t stream);

}  // namespace mambase::cuda
