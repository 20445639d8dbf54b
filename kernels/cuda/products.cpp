#include "kernels/cuda/products.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace mambase::cuda {

namespace {

void require(cublasStatus_t status, const char* what) {
    MAMBASE_REQUIRE(status == CUBLAS_STATUS_SUCCESS, ErrorCode::device,
                    concat("cuBLAS: ", cublasLtGetStatusString(status), " in ", what));
}

cudaDataType type_of(DType dtype) {
    return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

/// A row-major [rows,columns] as the column-major [columns,rows] that cuBLAS takes it for.
class Layout {
  public:
    Layout(DType dtype,
           std::int64_t rows,
           std::int64_t columns,
           std::int64_t stride,
           std::int64_t batch,
           std::int64_t batch_stride) {
        require(
            cublasLtMatrixLayoutInit(&layout_, type_of(dtype), static_cast<std::uint64_t>(columns),
                                     static_cast<std::uint64_t>(rows), stride),
            "cublasLtMatrixLayoutInit");
        const auto count = static_cast<std::int32_t>(batch);
        set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, count);
        set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, batch_stride);
    }
    cublasLtMatrixLayout_t get() { return &layout_; }

  private:
    template <class T>
    void set(cublasLtMatrixLayoutAttribute_t attribute, const T& value) {
        require(cublasLtMatrixLayoutSetAttribute(&layout_, attribute, &value, sizeof(value)),
                "cublasLtMatrixLayoutSetAttribute");
    }

    cublasLtMatrixLayoutOpaque_t layout_{};
};

class Description {
  public:
    explicit Description(const Product& product) {
        require(cublasLtMatmulDescInit(&description_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                "cublasLtMatmulDescInit");
        const auto operation = [](bool transposed) {
            return static_cast<std::int32_t>(transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
        };
        // Column-major, the result's transpose is rightᵀ·leftᵀ.
        set(CUBLASLT_MATMUL_DESC_TRANSA, operation(product.right.transposed));
        set(CUBLASLT_MATMUL_DESC_TRANSB, operation(product.left.transposed));
        if (product.bias != nullptr) {
            set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_BIAS));
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, product.bias);
        }
    }
    cublasLtMatmulDesc_t get() { return &description_; }

  private:
    template <class T>
    void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
        require(cublasLtMatmulDescSetAttribute(&description_, attribute, &value, sizeof(value)),
                "cublasLtMatmulDescSetAttribute");
    }

    cublasLtMatmulDescOpaque_t description_{};
};

Layout layout_of(const Factor& factor,
                 DType dtype,
                 std::int64_t rows,
                 std::int64_t columns,
                 std::int64_t batch) {
    return factor.transposed
               ? Layout(dtype, columns, rows, factor.stride, batch, factor.batch_stride)
               : Layout(dtype, rows, columns, factor.stride, batch, factor.batch_stride);
}

Layout layout_of_left(const Product& product) {
    return layout_of(product.left, product.in, product.rows, product.depth, product.batch);
}

Layout layout_of_right(const Product& product) {
    return layout_of(product.right, product.in, product.depth, product.columns, product.batch);
}

Layout layout_of_result(const Product& product) {
    return Layout(product.out, product.rows, product.columns, product.result_stride, product.batch,
                  product.result_batch_stride);
}

/// The product that stands for all of its kind: rows as close together as their alignment allows,
/// so that strides do not matter either.
Product planned(const Product& product) {
    Product out = product;
    out.rows = product.plan.rows;
    out.depth = product.plan.depth;
    out.batch = product.plan.batch;
    const auto stride = [](std::int64_t width, int alignment, DType dtype) {
        return round_up(width, alignment / size_of(dtype));
    };
    const std::int64_t left_rows = out.left.transposed ? out.depth : out.rows;
    const std::int64_t right_rows = out.right.transposed ? out.columns : out.depth;
    out.left.stride =
        stride(out.left.transposed ? out.rows : out.depth, out.left.alignment, out.in);
    out.right.stride =
        stride(out.right.transposed ? out.depth : out.columns, out.right.alignment, out.in);
    out.result_stride = stride(out.columns, out.result_alignment, out.out);
    if (out.batch > 1) {
        out.left.batch_stride = left_rows * out.left.stride;
        out.right.batch_stride = right_rows * out.right.stride;
        out.result_batch_stride = out.rows * out.result_stride;
    }
    return out;
}

class Preference {
  public:
    explicit Preference(const Product& product) {
        require(cublasLtMatmulPreferenceInit(&preference_), "cublasLtMatmulPreferenceInit");
        set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{0});
        set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
            static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
        set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            static_cast<std::uint32_t>(product.right.alignment));
        set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            static_cast<std::uint32_t>(product.left.alignment));
        set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            static_cast<std::uint32_t>(product.result_alignment));
        set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
            static_cast<std::uint32_t>(product.result_alignment));
    }
    cublasLtMatmulPreference_t get() { return &preference_; }

  private:
    template <class T>
    void set(cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
        require(
            cublasLtMatmulPreferenceSetAttribute(&preference_, attribute, &value, sizeof(value)),
            "cublasLtMatmulPreferenceSetAttribute");
    }

    cublasLtMatmulPreferenceOpaque_t preference_{};
};

bool usable(const cublasLtMatmulHeuristicResult_t& choice) {
    if (choice.state != CUBLAS_STATUS_SUCCESS || choice.workspaceSize != 0) {
        return false;
    }
    std::int32_t parts = 0;
    std::size_t written = 0;
    require(cublasLtMatmulAlgoConfigGetAttribute(&choice.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
                                                 &parts, sizeof(parts), &written),
            "cublasLtMatmulAlgoConfigGetAttribute");
    return parts <= 1;
}

/// Whether a product is one that is done faster by the tiles below than by the library's first
/// choice: wide and short in depth (256 -> 1,024 over 2^20 rows: 1.02 ms against 1.14).
bool prefers_square_tiles(const Product& product) {
    return product.in == DType::bf16 && product.depth > 64 && product.depth <= 256 &&
           product.columns >= 512;
}

/// 128 x 128, in clusters of two.
bool has_square_tiles(const cublasLtMatmulHeuristicResult_t& choice) {
    std::uint32_t tile = 0;
    std::uint16_t cluster = 0;
    std::size_t written = 0;
    require(cublasLtMatmulAlgoConfigGetAttribute(&choice.algo, CUBLASLT_ALGO_CONFIG_TILE_ID, &tile,
                                                 sizeof(tile), &written),
            "cublasLtMatmulAlgoConfigGetAttribute");
    require(
        cublasLtMatmulAlgoConfigGetAttribute(&choice.algo, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID,
                                             &cluster, sizeof(cluster), &written),
        "cublasLtMatmulAlgoConfigGetAttribute");
    return tile == CUBLASLT_MATMUL_TILE_128x128 && cluster == CUBLASLT_CLUSTER_SHAPE_2x1x1;
}

/// The library's first choice that leaves the sum over depth in one piece.
cublasLtMatmulAlgo_t choose(cublasLtHandle_t handle, const Product& product) {
    Description description(product);
    Layout left = layout_of_left(product);
    Layout right = layout_of_right(product);
    Layout result = layout_of_result(product);
    Preference preference(product);
    std::array<cublasLtMatmulHeuristicResult_t, 32> choices{};
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle, description.get(), right.get(), left.get(), result.get(), result.get(),
        preference.get(), static_cast<int>(choices.size()), choices.data(), &count);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) {
        require(status, "cublasLtMatmulAlgoGetHeuristic");
    }
    const auto end = choices.begin() + count;
    auto first = std::find_if(choices.begin(), end, usable);
    if (prefers_square_tiles(product)) {
        const auto square = std::find_if(choices.begin(), end, [](const auto& choice) {
            return usable(choice) && has_square_tiles(choice);
        });
        first = square != end ? square : first;
    }
    if (first != end) {
        return first->algo;
    }
    throw Error(ErrorCode::unsupported,
                concat("cuBLAS has no product for ", product.rows, " x ", product.depth, " x ",
                       product.columns, " of ", name(product.in), " to ", name(product.out),
                       ", rows aligned to ", product.left.alignment, ", ", product.right.alignment,
                       " and ", product.result_alignment, " bytes"));
}

}  // namespace

Products::Products(cudaStream_t stream) : stream_(stream) {
    const cublasStatus_t status = cublasLtCreate(&handle_);
    MAMBASE_REQUIRE(status == CUBLAS_STATUS_SUCCESS, ErrorCode::device,
                    concat("cuBLAS does not start: ", cublasLtGetStatusString(status)));
}

Products::~Products() {
    cublasLtDestroy(handle_);
}

const cublasLtMatmulAlgo_t& Products::algorithm_of(const Product& product) {
    const Key key = {static_cast<std::int64_t>(product.in),
                     static_cast<std::int64_t>(product.out),
                     product.plan.rows,
                     product.plan.depth,
                     product.plan.batch,
                     product.columns,
                     product.left.alignment,
                     product.left.transposed,
                     product.right.alignment,
                     product.right.transposed,
                     product.result_alignment,
                     product.bias != nullptr};
    const auto found = algorithms_.find(key);
    if (found != algorithms_.end()) {
        return found->second;
    }
    return algorithms_.emplace(key, choose(handle_, planned(product))).first->second;
}

void Products::run(const Product& product) {
    const cublasLtMatmulAlgo_t& algorithm = algorithm_of(product);
    Description description(product);
    Layout left = layout_of_left(product);
    Layout right = layout_of_right(product);
    Layout result = layout_of_result(product);
    const float alpha = 1.0F;
    const float beta = product.add ? 1.0F : 0.0F;
    require(cublasLtMatmul(handle_, description.get(), &alpha, product.right.data, right.get(),
                           product.left.data, left.get(), &beta, product.result, result.get(),
                           product.result, result.get(), &algorithm, nullptr, 0, stream_),
            "cublasLtMatmul");
}

}  // namespace mambase::cuda
