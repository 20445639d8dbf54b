// Products and sums of extents that never wrap.
#pragma once

#include "base/error.hpp"

#include <cstdint>

namespace mambase {

inline std::int64_t checked_add(std::int64_t a, std::int64_t b) {
    std::int64_t out = 0;
    MAMBASE_REQUIRE(!__builtin_add_overflow(a, b, &out), ErrorCode::shape,
                    "a size overflows 64 bits");
    return out;
}

inline std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
    std::int64_t out = 0;
    MAMBASE_REQUIRE(!__builtin_mul_overflow(a, b, &out), ErrorCode::shape,
                    "a size overflows 64 bits");
    return out;
}

/// Smallest count of `unit`s that holds `n`; n >= 0, unit > 0.
constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t unit) {
    return n / unit + (n % unit != 0 ? 1 : 0);
}

/// Largest count of `unit`s that is not past `n`, which may be negative; unit > 0.
constexpr std::int64_t floor_div(std::int64_t n, std::int64_t unit) {
    return n / unit - (n % unit < 0 ? 1 : 0);
}

/// Smallest multiple of `unit` that is at least `n`.
inline std::int64_t round_up(std::int64_t n, std::int64_t unit) {
    return checked_mul(ceil_div(n, unit), unit);
}

}  // namespace mambase
