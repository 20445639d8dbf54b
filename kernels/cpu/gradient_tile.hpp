// The tiles in which the CPU backend sums the gradients of parameters.
#pragma once

#include <cstdint>

namespace mambase::cpu {

/// Rows of one lane that are summed in f32 before the sum is added to the f64 gradient. Tiles are
/// counted from the first row of a call and added by descending position, then ascending lane; so
/// calls from right to left over chunks of whole tiles add the same numbers in the same order as
/// one call over all of them. (f32 sums over 10⁶ rows differ by 2·10⁻⁵ between orders; within a
/// tile the error is that of 256 terms.)
inline constexpr std::int64_t kGradientTile = 256;

}  // namespace mambase::cpu
