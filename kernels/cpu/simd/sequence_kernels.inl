// The text of the sequence kernels; each sequence_<level>.cpp compiles it with its own flags.
#pragma once

#include "kernels/cpu/simd/sequence_conv.inl"
#include "kernels/cpu/simd/sequence_kernels.hpp"
#include "kernels/cpu/simd/sequence_scan_backward.inl"
#include "kernels/cpu/simd/sequence_scan_forward.inl"

namespace mambase::cpu {
namespace {

template <class Function>
[[gnu::always_inline]] inline void map(const float* x,
                                       float* y,
                                       std::int64_t count,
                                       Function function) {
    for (std::int64_t i = 0; i < count; i += Vec::kWidth) {
        store_channels(y + i, function(load_channels<Vec>(x + i, count - i)), count - i);
    }
}

void map_exp2_nonpositive(const float* x, float* y, std::int64_t count) {
    map(x, y, count, [](Vec v) { return exp2_nonpositive(v); });
}

void map_exp(const float* x, float* y, std::int64_t count) {
    map(x, y, count, [](Vec v) { return exp(v); });
}

void map_softplus(const float* x, float* y, std::int64_t count) {
    map(x, y, count, [](Vec v) { return softplus(v, exp_of_minus_magnitude(v)); });
}

void map_logistic(const float* x, float* y, std::int64_t count) {
    map(x, y, count, [](Vec v) { return logistic(v); });
}

constexpr SequenceKernels kSequenceKernels = {
    scan_forward,         scan_backward, conv_forward, conv_backward,
    map_exp2_nonpositive, map_exp,       map_softplus, map_logistic,
};

}  // namespace
}  // namespace mambase::cpu
