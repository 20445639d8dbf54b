// The text of the matrix products; gemm_<level>.cpp compiles it with that level's flags.
//
// The inner loop keeps a block of kStrip × 2 registers of results, and for each step of the inner
// index loads one row of a panel and broadcasts kStrip elements of the left factor: 12 independent
// chains hide the latency of the multiply-add, and one panel stays in the first-level cache while
// the rows of a task pass by.
#include "kernels/cpu/simd/gemm_kernels.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace mambase::cpu {
namespace {

constexpr int kStrip = 6;
constexpr int kPanel = 2 * Vec::kWidth;

template <int kWidth>
void pack(
    const float* from, std::int64_t stride, std::int64_t depth, std::int64_t columns, float* to) {
    for (std::int64_t j = 0; j < columns; j += kWidth) {
        if (columns - j >= kWidth) {
            for (std::int64_t k = 0; k < depth; ++k, to += kWidth) {
                __builtin_memcpy(to, from + k * stride + j, kWidth * sizeof(float));
            }
            continue;
        }
        for (std::int64_t k = 0; k < depth; ++k, to += kWidth) {
            for (std::int64_t w = 0; w < kWidth; ++w) {
                to[w] = j + w < columns ? from[k * stride + j + w] : 0.0F;
            }
        }
    }
}

void pack_transposed(
    const float* from, std::int64_t stride, std::int64_t depth, std::int64_t columns, float* to) {
    for (std::int64_t j = 0; j < columns; j += kPanel, to += depth * kPanel) {
        for (std::int64_t w = 0; w < kPanel; ++w) {
            const float* const row = from + (j + w) * stride;
            for (std::int64_t k = 0; k < depth; ++k) {
                to[k * kPanel + w] = j + w < columns ? row[k] : 0.0F;
            }
        }
    }
}

/// acc[r] = Σ_k a(r,k)·panel[k]; a(r,k) is a[r·stride + k], or a[k·kStrip + r] of a packed strip.
template <int kRows, bool kPackedStrip>
[[gnu::always_inline]] inline void accumulate(const float* a,
                                              std::int64_t stride,
                                              const float* panel,
                                              std::int64_t depth,
                                              Vec (&acc)[kRows][2]) {
    for (int r = 0; r < kRows; ++r) {
        acc[r][0] = zero();
        acc[r][1] = zero();
    }
    for (std::int64_t k = 0; k < depth; ++k) {
        const Vec low = load(panel);
        const Vec high = load(panel + Vec::kWidth);
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) {
            const Vec value = broadcast(kPackedStrip ? a[r] : a[r * stride]);
            acc[r][0] = fma(value, low, acc[r][0]);
            acc[r][1] = fma(value, high, acc[r][1]);
        }
        a += kPackedStrip ? kStrip : 1;
        panel += kPanel;
    }
}

/// One register of a row of results: bias or the old values added, `count` elements stored.
[[gnu::always_inline]] inline void finish(
    Vec value, const float* bias, bool add, float* y, std::int64_t count) {
    if (count >= Vec::kWidth) {
        value = bias != nullptr ? value + load(bias) : value;
        value = add ? load(y) + value : value;
        store(y, value);
    } else if (count > 0) {
        const int n = static_cast<int>(count);
        value = bias != nullptr ? value + load_partial(bias, n) : value;
        value = add ? load_partial(y, n) + value : value;
        store_partial(y, value, n);
    }
}

template <int kRows>
void row_strip(const RowProduct& p, std::int64_t row, std::int64_t column, const float* panel) {
    Vec acc[kRows][2];
    accumulate<kRows, false>(p.a + row * p.a_stride, p.a_stride, panel, p.depth, acc);
    const std::int64_t left = p.columns - column;
    const float* const bias = p.bias != nullptr ? p.bias + column : nullptr;
    float* const y = p.y + row * p.y_stride + column;
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
        finish(acc[r][0], bias, p.add, y + r * p.y_stride, left);
        finish(acc[r][1], bias != nullptr ? bias + Vec::kWidth : nullptr, p.add,
               y + r * p.y_stride + Vec::kWidth, left - Vec::kWidth);
    }
}

void row_product(const RowProduct& p) {
    const float* panel = p.panels;
    for (std::int64_t j = 0; j < p.columns; j += kPanel, panel += p.depth * kPanel) {
        std::int64_t i = 0;
        for (; i + kStrip <= p.rows; i += kStrip) {
            row_strip<kStrip>(p, i, j, panel);
        }
        switch (p.rows - i) {
            case 5:
                row_strip<5>(p, i, j, panel);
                break;
            case 4:
                row_strip<4>(p, i, j, panel);
                break;
            case 3:
                row_strip<3>(p, i, j, panel);
                break;
            case 2:
                row_strip<2>(p, i, j, panel);
                break;
            case 1:
                row_strip<1>(p, i, j, panel);
                break;
            default:
                break;
        }
    }
}

void tile_product(const TileProduct& p) {
    const float* panel = p.panels;
    for (std::int64_t j = 0; j < p.columns; j += kPanel, panel += p.depth * kPanel) {
        const std::int64_t columns = p.columns - j < kPanel ? p.columns - j : kPanel;
        const float* strip = p.strips;
        for (std::int64_t i = 0; i < p.rows; i += kStrip, strip += p.depth * kStrip) {
            const std::int64_t rows = p.rows - i < kStrip ? p.rows - i : kStrip;
            Vec acc[kStrip][2];
            accumulate<kStrip, true>(strip, 0, panel, p.depth, acc);
            float tile[kStrip][kPanel];
#pragma GCC unroll 6
            for (int r = 0; r < kStrip; ++r) {
                store(tile[r], acc[r][0]);
                store(tile[r] + Vec::kWidth, acc[r][1]);
            }
            for (std::int64_t r = 0; r < rows; ++r) {
                double* const sum = p.sum + (i + r) * p.sum_stride + j;
                for (std::int64_t c = 0; c < columns; ++c) {
                    sum[c] += static_cast<double>(tile[r][c]);
                }
            }
        }
    }
}

void column_sums(
    const float* a, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* sums) {
    for (std::int64_t j = 0; j < columns; j += Vec::kWidth) {
        const int count = columns - j < Vec::kWidth ? static_cast<int>(columns - j) : Vec::kWidth;
        Vec sum = zero();
        for (std::int64_t i = 0; i < rows; ++i) {
            const float* const at = a + i * stride + j;
            sum = sum + (count == Vec::kWidth ? load(at) : load_partial(at, count));
        }
        store_partial(sums + j, sum, count);
    }
}

constexpr GemmKernels kGemmKernels = {
    kPanel,          kStrip,      pack<kPanel>, pack<kStrip>,
    pack_transposed, row_product, tile_product, column_sums,
};

}  // namespace
}  // namespace mambase::cpu
