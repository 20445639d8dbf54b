// What the sequence kernels share: rows of channels whose last vector may be short.
#pragma once

#include "kernels/cpu/simd/vec.hpp"
#include "kernels/cpu/simd/vec_pair.hpp"

#include <cstdint>

namespace mambase::cpu {
namespace {

// The ends of rows are rare: kept out of the loops, so that those stay short.
[[gnu::noinline]] Vec load_end(const float* from, std::int64_t left) {
    return load_partial(from, static_cast<int>(left));
}
[[gnu::noinline]] void store_end(float* to, Vec a, std::int64_t left) {
    store_partial(to, a, static_cast<int>(left));
}

/// Channels of which `left` exist; those past the end read as zero.
template <class V>
[[gnu::always_inline]] inline V load_channels(const float* from, std::int64_t left) {
    if (left >= V::kWidth) {
        return load_as<V>(from);
    }
    if constexpr (V::kWidth == Vec::kWidth) {
        return load_end(from, left);
    } else {
        using Half = typename V::Half;
        return {load_channels<Half>(from, left),
                load_channels<Half>(from + Half::kWidth, left - Half::kWidth)};
    }
}

template <class V>
[[gnu::always_inline]] inline void store_channels(float* to, V a, std::int64_t left) {
    if (left >= V::kWidth) {
        store(to, a);
    } else if constexpr (V::kWidth == Vec::kWidth) {
        store_end(to, a, left);
    } else {
        using Half = typename V::Half;
        store_channels(to, a.lo, left);
        store_channels(to + Half::kWidth, a.hi, left - Half::kWidth);
    }
}

constexpr std::int64_t kLineFloats = 16;  // of a cache line

/// Asks for the block of channels of row t, if there is one. Rows lie a kilobyte and more apart,
/// and no processor foresees that: without this a third of the scan is waiting.
[[gnu::always_inline]] inline void prefetch_row(const float* rows,
                                                std::int64_t stride,
                                                std::int64_t t,
                                                std::int64_t end,
                                                std::int64_t channels) {
    if (rows != nullptr && t >= 0 && t < end) {
        for (std::int64_t e = 0; e < channels; e += kLineFloats) {
            __builtin_prefetch(rows + t * stride + e);
        }
    }
}

/// Whether a segment begins at row t, so that nothing of the rows before may be seen.
[[gnu::always_inline]] inline bool is_border(const std::int32_t* segment, std::int64_t t) {
    return segment != nullptr && t > 0 && segment[t] != segment[t - 1];
}

}  // namespace
}  // namespace mambase::cpu
