// A matrix turned round, by squares that fit the registers.
#pragma once

#include "kernels/cpu/simd/vec.hpp"

#include <cstdint>

namespace mambase::cpu {
namespace {

/// Of every square of 2·Distance elements in the rows, the quarters off the diagonal change places.
template <int Distance>
[[gnu::always_inline]] inline void swap_quarters(Vec (&rows)[Vec::kWidth]) {
#pragma GCC unroll 16
    for (int i = 0; i < Vec::kWidth; ++i) {
        if ((i & Distance) == 0) {
            const Vec upper = rows[i];
            const Vec lower = rows[i + Distance];
            rows[i] = blend<Distance>(upper, exchange<Distance>(lower));
            rows[i + Distance] = blend<Distance>(exchange<Distance>(upper), lower);
        }
    }
}

[[gnu::always_inline]] inline void transpose_square(const float* from,
                                                    std::int64_t from_stride,
                                                    float* to,
                                                    std::int64_t to_stride) {
    Vec rows[Vec::kWidth];
#pragma GCC unroll 16
    for (int i = 0; i < Vec::kWidth; ++i) {
        rows[i] = load(from + i * from_stride);
    }
    swap_quarters<1>(rows);
    swap_quarters<2>(rows);
#if defined(__AVX2__) && defined(__FMA__)
    swap_quarters<4>(rows);
#endif
#if defined(__AVX512F__)
    swap_quarters<8>(rows);
#endif
#pragma GCC unroll 16
    for (int i = 0; i < Vec::kWidth; ++i) {
        store(to + i * to_stride, rows[i]);
    }
}

/// to[c·to_stride + r] = from[r·from_stride + c] for all r below `rows` and c below `columns`.
inline void transpose(const float* from,
                      std::int64_t from_stride,
                      std::int64_t rows,
                      std::int64_t columns,
                      float* to,
                      std::int64_t to_stride) {
    const std::int64_t whole_rows = rows - rows % Vec::kWidth;
    const std::int64_t whole_columns = columns - columns % Vec::kWidth;
    for (std::int64_t r = 0; r < whole_rows; r += Vec::kWidth) {
        for (std::int64_t c = 0; c < whole_columns; c += Vec::kWidth) {
            transpose_square(from + r * from_stride + c, from_stride, to + c * to_stride + r,
                             to_stride);
        }
    }
    for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = r < whole_rows ? whole_columns : 0; c < columns; ++c) {
            to[c * to_stride + r] = from[r * from_stride + c];
        }
    }
}

}  // namespace
}  // namespace mambase::cpu
