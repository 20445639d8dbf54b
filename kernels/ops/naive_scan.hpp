// The recurrence of selective_scan as plain steps, to time the op against: what there is where
// nobody has fused it. Part of every backend, of no table.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/ops/selective_scan.hpp"

#include <cstdint>

namespace mambase::ops {

/// y and state_out as selective_scan_forward gives them, within rounding. Each step reads and
/// writes whole tensors: delta [B,T,E]; exp(delta·A) and delta·b·x [B,T,E,N]; h [B,T,E,N], position
/// by position; y from h. z, state_in and state_out are there; segment, valid and saved are not.
void naive_scan_forward(Context& context, const SelectiveScan& op);

/// Step memory that it takes for a position of a lane.
inline std::int64_t naive_scan_bytes(std::int64_t inner, std::int64_t state) {
    return inner * (1 + 2 * state) * size_of(DType::f32);
}

}  // namespace mambase::ops
