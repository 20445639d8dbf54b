// Matrix products for one task, on raw memory; one set for each SIMD level.
//
// Each element of a result is one chain of fused multiply-adds over the inner index, ascending,
// from zero (at the scalar level: a multiplication and an addition). So its bits depend on its row
// of the left and its column of the right factor alone: not on how many rows there are, nor how
// they are cut. That is why these products are our own: Eigen 3.4 picks another order of adding by
// the shape of the whole product.
#pragma once

#include "kernels/cpu/simd_level.hpp"

#include <cstdint>

namespace mambase::cpu {

/// y[rows,columns] = a[rows,depth]·b + bias, or y += a·b. `panels` holds b as pack_panels() leaves
/// it; `bias` may be null.
struct RowProduct {
    std::int64_t rows, columns, depth;
    const float* a;
    std::int64_t a_stride;  // elements from row to row
    const float* panels;
    const float* bias;  // [columns]
    bool add;
    float* y;
    std::int64_t y_stride;
};

/// sum[rows,columns] += aᵀ·b over `depth` rows of a and b: the product in f32, the addition in f64.
/// Both factors are packed.
struct TileProduct {
    std::int64_t rows, columns, depth;
    const float* strips;
    const float* panels;
    double* sum;
    std::int64_t sum_stride;
};

/// Packed layout of a matrix [depth,columns] for a width w: for each w columns [depth][w], the last
/// group filled up with zeros. Size: depth·(columns rounded up to a multiple of w).
struct GemmKernels {
    std::int64_t panel_width;  // w of the right factor
    std::int64_t strip_width;  // w of the left factor of a TileProduct

    void (*pack_panels)(const float* from,
                        std::int64_t stride,
                        std::int64_t depth,
                        std::int64_t columns,
                        float* panels);
    void (*pack_strips)(const float* from,
                        std::int64_t stride,
                        std::int64_t depth,
                        std::int64_t columns,
                        float* strips);
    /// Of the transposed matrix: `from` is [columns,depth].
    void (*pack_transposed_panels)(const float* from,
                                   std::int64_t stride,
                                   std::int64_t depth,
                                   std::int64_t columns,
                                   float* panels);
    void (*row_product)(const RowProduct& product);
    void (*tile_product)(const TileProduct& product);
    /// sums[columns] = Σ over rows of a[rows,columns], in f32, rows ascending.
    void (*column_sums)(
        const float* a, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* sums);
};

template <SimdLevel L>
const GemmKernels& gemm_kernels();
template <>
const GemmKernels& gemm_kernels<SimdLevel::scalar>();
template <>
const GemmKernels& gemm_kernels<SimdLevel::avx2>();
template <>
const GemmKernels& gemm_kernels<SimdLevel::avx512>();

}  // namespace mambase::cpu
