// The directions in which rows of numbers differ most.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace mambase::pipelines {

struct PrincipalComponents {
    std::vector<std::array<double, 2>> places;  // [n] of each row on the first two components
    std::array<double, 2> shares{};             // of the rows' variance, 0 to 1
};

/// rows: [n, dim], n >= 2, dim >= 1. In double precision; the sign of a component is such that its
/// largest entry is positive.
PrincipalComponents principal_components(std::span<const float> rows, std::int64_t dim);

}  // namespace mambase::pipelines
