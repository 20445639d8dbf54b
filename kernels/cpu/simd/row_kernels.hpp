// Ops that look at one row at a time, for the rows of one task, on raw memory; one set for each
// SIMD level.
#pragma once

#include "kernels/cpu/simd_level.hpp"

#include <cstdint>

namespace mambase::cpu {

/// `rows` rows of `width` adjacent floats; a null pointer is an absent argument.
template <class T>
struct RowSpan {
    T* data;
    std::int64_t stride;  // elements from row to row
};

/// As ops::RmsNorm.
struct RmsNormRows {
    std::int64_t rows, width;
    RowSpan<const float> hidden, residual_in;
    const std::uint8_t* ids;  // [rows], optional: which row of residual_in
    const float* weight;
    float eps;
    RowSpan<float> residual_out, y;
    float* rstd;  // [rows], optional
};

/// As ops::RmsNormGrad.
struct RmsNormGradRows {
    std::int64_t rows, width;
    RowSpan<const float> residual_out, dy, dresidual_out;
    const float* weight;
    const float* rstd;  // [rows]
    RowSpan<float> dx;
    float* dweight;  // [width] sum over these rows, overwritten
};

/// As ops::CrossEntropy; targets with weight are in the support.
struct CrossEntropyRows {
    std::int64_t rows, vocabulary;
    RowSpan<const float> logits;
    const std::uint8_t* targets;  // [rows]
    const float* weight;          // [rows], optional
    const std::uint8_t* support;  // [support_size], optional
    std::int64_t support_size;
    double* loss;        // [rows]
    std::uint8_t* best;  // [rows], optional
};

/// As ops::CrossEntropyGrad.
struct CrossEntropyGradRows {
    std::int64_t rows, vocabulary;
    RowSpan<const float> logits;
    const std::uint8_t* targets;  // [rows]
    const float* weight;          // [rows], optional
    double scale;
    RowSpan<float> dlogits;
};

struct RowKernels {
    void (*rms_norm)(const RmsNormRows& task);
    void (*rms_norm_grad)(const RmsNormGradRows& task);
    void (*cross_entropy)(const CrossEntropyRows& task);
    void (*cross_entropy_grad)(const CrossEntropyGradRows& task);
};

template <SimdLevel L>
const RowKernels& row_kernels();
template <>
const RowKernels& row_kernels<SimdLevel::scalar>();
template <>
const RowKernels& row_kernels<SimdLevel::avx2>();
template <>
const RowKernels& row_kernels<SimdLevel::avx512>();

}  // namespace mambase::cpu
