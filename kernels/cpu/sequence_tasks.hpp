// What the sequence ops of the CPU backend share: lanes that end early.
#pragma once

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/cpu/task_scratch.hpp"
#include "kernels/tensor/view.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::cpu {

/// Positions of a lane that count. Throws Error{shape} where `valid` is not in [0, length].
inline std::int64_t valid_length(const View<const std::int64_t, 1>& valid,
                                 std::int64_t lane,
                                 std::int64_t length) {
    if (!valid) {
        return length;
    }
    const std::int64_t count = valid(lane);
    MAMBASE_REQUIRE(count >= 0 && count <= length, ErrorCode::shape,
                    concat("valid of lane ", lane, " is ", count, ", expected 0 to ", length));
    return count;
}

/// Address of element (lane, 0, channel) of an optional [B,T,E] view.
template <class T>
T* lane_rows(const View<T, 3>& view, std::int64_t lane, std::int64_t channel = 0) {
    return view ? &view(lane, 0, channel) : nullptr;
}

/// Zeros in rows [lo, hi) and `count` channels of a lane.
inline void zero_rows(
    float* rows, std::int64_t stride, std::int64_t lo, std::int64_t hi, std::int64_t count) {
    for (std::int64_t t = lo; t < hi; ++t) {
        std::fill_n(rows + t * stride, count, 0.0F);
    }
}

}  // namespace mambase::cpu
