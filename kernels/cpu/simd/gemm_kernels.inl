// The text of the matrix products; gemm_<level>.cpp compiles it with that level's flags.
//
// The inner loop keeps a block of kStrip × 2 registers of results, and for each step of the inner
// index loads one row of a panel and broadcasts kStrip elements of the left factor: 12 independent
// chains hide the latency of the multiply-add, and one panel stays in the first-level cache while
// the rows of a task pass by.
#include "kernels/cpu/simd/gemm_kernels.hpp"
#include "kernels/cpu/simd/transpose.inl"
#include "kernels/cpu/simd/vec.hpp"

namespace mambase::cpu {
namespace {

constexpr int kStrip = 6;
constexpr int kPanel = 2 * Vec::kWidth;

/// `groups` groups of kWidth columns, each [depth][kWidth], and after them the `rest` < kWidth
/// columns that are left. Each row is read once, as a stream.
template <int kWidth>
[[gnu::always_inline]] inline void pack_groups(const float* from,
                                               std::int64_t stride,
                                               std::int64_t depth,
                                               std::int64_t groups,
                                               std::int64_t rest,
                                               float* to) {
    for (std::int64_t k = 0; k < depth; ++k, from += stride, to += kWidth) {
#pragma GCC unroll 8
        for (std::int64_t g = 0; g < groups; ++g) {
            __builtin_memcpy(to + g * depth * kWidth, from + g * kWidth, kWidth * sizeof(float));
        }
        for (std::int64_t w = 0; w < kWidth && rest > 0; ++w) {
            to[groups * depth * kWidth + w] = w < rest ? from[groups * kWidth + w] : 0.0F;
        }
    }
}

/// Some groups side by side: few enough to be written as streams, enough to read whole cache lines.
template <int kWidth>
void pack(
    const float* from, std::int64_t stride, std::int64_t depth, std::int64_t columns, float* to) {
    constexpr int groups = kWidth >= 16 ? 4 : 8;
    std::int64_t j = 0;
    for (; j + groups * kWidth <= columns; j += groups * kWidth, to += groups * kWidth * depth) {
        pack_groups<kWidth>(from + j, stride, depth, groups, 0, to);
    }
    if (j < columns) {
        const std::int64_t left = columns - j;
        pack_groups<kWidth>(from + j, stride, depth, left / kWidth, left % kWidth, to);
    }
}

void pack_transposed(
    const float* from, std::int64_t stride, std::int64_t depth, std::int64_t columns, float* to) {
    for (std::int64_t j = 0; j < columns; j += kPanel, to += depth * kPanel) {
        const std::int64_t width = columns - j < kPanel ? columns - j : kPanel;
        transpose(from + j * stride, stride, width, depth, to, kPanel);
        for (std::int64_t k = 0; k < depth && width < kPanel; ++k) {
            for (std::int64_t w = width; w < kPanel; ++w) {
                to[k * kPanel + w] = 0.0F;
            }
        }
    }
}

/// acc[r] = Σ_k a(r,k)·panel[k], for the first kVecs registers of a panel's row; a(r,k) is
/// a[r·stride + k], or a[k·kStrip + r] of a packed strip.
template <int kRows, int kVecs, bool kPackedStrip>
[[gnu::always_inline]] inline void accumulate(const float* a,
                                              std::int64_t stride,
                                              const float* panel,
                                              std::int64_t depth,
                                              Vec (&acc)[kRows][kVecs]) {
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) {
            acc[r][v] = zero();
        }
    }
    for (std::int64_t k = 0; k < depth; ++k) {
        Vec right[kVecs];
        for (int v = 0; v < kVecs; ++v) {
            right[v] = load(panel + v * Vec::kWidth);
        }
#pragma GCC unroll 12
        for (int r = 0; r < kRows; ++r) {
            const Vec left = broadcast(kPackedStrip ? a[r] : a[r * stride]);
            for (int v = 0; v < kVecs; ++v) {
                acc[r][v] = fma(left, right[v], acc[r][v]);
            }
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

template <int kRows, int kVecs>
void row_block(const RowProduct& p, std::int64_t row, std::int64_t column, const float* panel) {
    Vec acc[kRows][kVecs];
    accumulate<kRows, kVecs, false>(p.a + row * p.a_stride, p.a_stride, panel, p.depth, acc);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) {
            const std::int64_t j = column + v * Vec::kWidth;
            finish(acc[r][v], p.bias != nullptr ? p.bias + j : nullptr, p.add,
                   p.y + (row + r) * p.y_stride + j, p.columns - j);
        }
    }
}

/// All rows against the first kVecs registers of one panel; twice as many rows at a time where it
/// is one, so that there are as many chains.
template <int kVecs>
void panel_product(const RowProduct& p, std::int64_t column, const float* panel) {
    constexpr int rows = kVecs == 1 ? 2 * kStrip : kStrip;
    std::int64_t i = 0;
    for (; i + rows <= p.rows; i += rows) {
        row_block<rows, kVecs>(p, i, column, panel);
    }
    for (; i + 2 <= p.rows; i += 2) {
        row_block<2, kVecs>(p, i, column, panel);
    }
    if (i < p.rows) {
        row_block<1, kVecs>(p, i, column, panel);
    }
}

void row_product(const RowProduct& p) {
    const float* panel = p.panels;
    for (std::int64_t j = 0; j < p.columns; j += kPanel, panel += p.depth * kPanel) {
        if (p.columns - j > Vec::kWidth) {
            panel_product<2>(p, j, panel);
        } else {
            panel_product<1>(p, j, panel);
        }
    }
}

/// sum[i] += a[i] in double precision, for all elements of a register.
[[gnu::always_inline]] inline void add_to_doubles(double* sum, Vec a) {
#if defined(__AVX512F__)
    // The forms with a mask, for GCC 12 takes the others' unused operand for uninitialised.
    const __m256 low = _mm512_maskz_extractf32x8_ps(0xFF, a.v, 0);
    const __m256 high = _mm512_maskz_extractf32x8_ps(0xFF, a.v, 1);
    _mm512_storeu_pd(sum, _mm512_loadu_pd(sum) + _mm512_maskz_cvtps_pd(0xFF, low));
    _mm512_storeu_pd(sum + 8, _mm512_loadu_pd(sum + 8) + _mm512_maskz_cvtps_pd(0xFF, high));
#elif defined(__AVX2__) && defined(__FMA__)
    const __m128 low = _mm256_castps256_ps128(a.v);
    const __m128 high = _mm256_extractf128_ps(a.v, 1);
    _mm256_storeu_pd(sum, _mm256_add_pd(_mm256_loadu_pd(sum), _mm256_cvtps_pd(low)));
    _mm256_storeu_pd(sum + 4, _mm256_add_pd(_mm256_loadu_pd(sum + 4), _mm256_cvtps_pd(high)));
#else
    for (int i = 0; i < Vec::kWidth; ++i) {
        sum[i] += static_cast<double>(a.v[i]);
    }
#endif
}

template <int kVecs>
void strip_product(const TileProduct& p,
                   std::int64_t row,
                   std::int64_t column,
                   const float* strip,
                   const float* panel) {
    Vec acc[kStrip][kVecs];
    accumulate<kStrip, kVecs, true>(strip, 0, panel, p.depth, acc);
    double* const sum = p.sum + row * p.sum_stride + column;
    const std::int64_t rows = p.rows - row;
    const std::int64_t columns = p.columns - column;
    if (rows >= kStrip && columns >= kVecs * Vec::kWidth) {
#pragma GCC unroll 6
        for (int r = 0; r < kStrip; ++r) {
#pragma GCC unroll 2
            for (int v = 0; v < kVecs; ++v) {
                add_to_doubles(sum + r * p.sum_stride + v * Vec::kWidth, acc[r][v]);
            }
        }
        return;
    }
    float block[kStrip][kVecs * Vec::kWidth];
#pragma GCC unroll 6
    for (int r = 0; r < kStrip; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) {
            store(block[r] + v * Vec::kWidth, acc[r][v]);
        }
    }
    for (std::int64_t r = 0; r < rows && r < kStrip; ++r) {
        for (std::int64_t c = 0; c < columns && c < kVecs * Vec::kWidth; ++c) {
            sum[r * p.sum_stride + c] += static_cast<double>(block[r][c]);
        }
    }
}

void tile_product(const TileProduct& p) {
    const float* panel = p.panels;
    for (std::int64_t j = 0; j < p.columns; j += kPanel, panel += p.depth * kPanel) {
        const float* strip = p.strips;
        for (std::int64_t i = 0; i < p.rows; i += kStrip, strip += p.depth * kStrip) {
            if (p.columns - j > Vec::kWidth) {
                strip_product<2>(p, i, j, strip, panel);
            } else {
                strip_product<1>(p, i, j, strip, panel);
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
