// CUDA ops behind a table that takes host views, so that the tests of the CPU's ops run on a GPU.
#pragma once

#include "kernels/ops/op_table.hpp"

#include <cstdint>

namespace mambase::test {

/// What a mirrored op has its activations in on the device.
enum class Mirror : std::uint8_t {
    f32,
    bf16,          // rounded on the way up, widened on the way back
    bf16_to_wide,  // the same, but linear's y is f32, as the logits of a model are
};

/// Each entry copies what its views span to the device, keeping strides, aliases and the alignment
/// of a row within 64 bytes, runs the CUDA table's entry there, waits, and copies back the elements
/// that its outputs view. Throws std::runtime_error if any other byte of them or of its inputs has
/// changed. Scratch starts as NaN, unless MAMBASE_TEST_RAW_SCRATCH is set (for initcheck, which
/// looks for that itself). Entries that the CUDA table lacks are null.
/// Null where there is no card, and in a build without CUDA (no_cuda_mirror.cpp).
const ops::OpTable* cuda_mirror(Mirror mirror);

}  // namespace mambase::test
