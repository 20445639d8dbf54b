// Matrix products by cuBLASLt, each with an algorithm that depends on its kind alone.
#pragma once

#include "kernels/tensor/dtype.hpp"

#include <array>
#include <cstdint>
#include <map>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

namespace mambase::cuda {

/// A row-major matrix; the strides are in elements.
struct Factor {
    const void* data;
    std::int64_t stride;
    std::int64_t batch_stride;  // 0: one matrix for the whole batch
    int alignment;              // bytes that divide the address of every row
    bool transposed;            // the product takes its transpose
};

/// result = left·right (+ bias), or result += left·right; accumulated in f32.
struct Product {
    /// The extents that the algorithm is chosen for.
    struct Plan {
        std::int64_t rows, depth, batch;
    };

    DType in, out;  // f32 from f32 (never by TF32), bf16 or f32 from bf16
    std::int64_t rows, columns, depth, batch;
    Factor left;   // [rows,depth]; stored [depth,rows] where transposed
    Factor right;  // [depth,columns]; stored [columns,depth] where transposed
    void* result;  // [rows,columns]
    std::int64_t result_stride;
    std::int64_t result_batch_stride;
    int result_alignment;
    const void* bias;  // [columns] as `out`, 16-byte aligned, or null
    bool add;
    Plan plan;
};

/// One algorithm for each plan, columns, types, alignments and transpositions, whatever the rows,
/// the batch and the strides: so a row has the same bits however many there are. The sum over depth
/// is never split.
class Products {
  public:
    explicit Products(cudaStream_t stream);
    Products(const Products&) = delete;
    Products& operator=(const Products&) = delete;
    ~Products();

    void run(const Product& product);

  private:
    using Key = std::array<std::int64_t, 12>;

    const cublasLtMatmulAlgo_t& algorithm_of(const Product& product);

    cudaStream_t stream_;
    cublasLtHandle_t handle_ = nullptr;
    std::map<Key, cublasLtMatmulAlgo_t> algorithms_;
};

}  // namespace mambase::cuda
