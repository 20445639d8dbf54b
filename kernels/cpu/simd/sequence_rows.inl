// What the sequence kernels share: rows of channels whose last vector may be short.
#pragma once

#include "kernels/cpu/simd/vec.hpp"

#include <cstdint>

namespace mambase::cpu {
namespace {

/// A vector of channels of which `left` exist; those past the end read as zero.
[[gnu::always_inline]] inline Vec load_channels(const float* from, std::int64_t left) {
    return left >= Vec::kWidth ? load(from) : load_partial(from, static_cast<int>(left));
}

[[gnu::always_inline]] inline void store_channels(float* to, Vec a, std::int64_t left) {
    if (left >= Vec::kWidth) {
        store(to, a);
    } else {
        store_partial(to, a, static_cast<int>(left));
    }
}

/// Whether a segment begins at row t, so that nothing of the rows before may be seen.
[[gnu::always_inline]] inline bool is_border(const std::int32_t* segment, std::int64_t t) {
    return segment != nullptr && t > 0 && segment[t] != segment[t - 1];
}

}  // namespace
}  // namespace mambase::cpu
