// What the parity tests of the sequence ops share: segments, valid counts, chunks of a call.
#pragma once

#include "tests/support/tensor_tools.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mambase::test {

/// Segment ids [B,T]: a new one begins at a position with probability 1/6.
inline Tensor random_segments(std::int64_t batch, std::int64_t length, std::uint64_t seed) {
    Tensor tensor(host_allocator(), DType::i32, {batch, length}, "test");
    auto* const data = static_cast<std::int32_t*>(tensor.view().data());
    const CounterRng rng(seed, 901);
    for (std::int64_t lane = 0; lane < batch; ++lane) {
        std::int32_t id = 7;
        for (std::int64_t t = 0; t < length; ++t) {
            const std::int64_t at = lane * length + t;
            id += rng.below(static_cast<std::uint64_t>(at), 6) == 0 ? 1 : 0;
            data[at] = id;
        }
    }
    return tensor;
}

/// Valid counts [B] in [0, length], the first of them `length`, the second 0, the third 1.
inline Tensor random_valid(std::int64_t batch, std::int64_t length, std::uint64_t seed) {
    Tensor tensor = random_ids(DType::i64, {batch}, length + 1, seed, 902);
    auto* const data = static_cast<std::int64_t*>(tensor.view().data());
    const std::int64_t first[] = {length, 0, std::min<std::int64_t>(length, 1)};
    std::copy_n(first, std::min<std::int64_t>(batch, 3), data);
    return tensor;
}

/// The valid counts of positions [lo, hi).
inline Tensor valid_of_chunk(const Tensor& valid, std::int64_t lo, std::int64_t hi) {
    Tensor chunk(host_allocator(), DType::i64, valid.shape(), "test");
    const auto* const from = static_cast<const std::int64_t*>(valid.view().data());
    auto* const to = static_cast<std::int64_t*>(chunk.view().data());
    for (std::int64_t lane = 0; lane < valid.shape()[0]; ++lane) {
        to[lane] = std::clamp<std::int64_t>(from[lane] - lo, 0, hi - lo);
    }
    return chunk;
}

/// Elements [lo, hi) of dimension 1; an absent view stays absent.
template <bool IsConst>
BasicTensorView<IsConst> positions(const BasicTensorView<IsConst>& view,
                                   std::int64_t lo,
                                   std::int64_t hi) {
    return view ? view.slice(1, lo, hi) : view;
}

}  // namespace mambase::test
