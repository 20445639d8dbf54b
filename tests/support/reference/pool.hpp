// Pooling of rows into groups, in double precision, over whole sequences.
#pragma once

#include "kernels/ops/pool.hpp"
#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>

namespace mambase::test::reference {

struct Pooled {
    Array value;  // [B,G,D] mean, maximum or last row; 0 for a group without rows
    Array count;  // [B,G]
};

inline Pooled pool(const Array& x, const Array& group, std::int64_t groups, ops::PoolMode mode) {
    Pooled out{Array({x.extent(0), groups, x.extent(2)}), Array({x.extent(0), groups})};
    for (std::int64_t b = 0; b < x.extent(0); ++b) {
        for (std::int64_t g = 0; g < groups; ++g) {
            for (std::int64_t d = 0; d < x.extent(2); ++d) {
                double value = 0.0;
                double count = 0.0;
                for (std::int64_t t = 0; t < x.extent(1); ++t) {
                    if (static_cast<std::int64_t>(group(b, t)) != g) {
                        continue;
                    }
                    count += 1.0;
                    value = mode == ops::PoolMode::mean   ? value + x(b, t, d)
                            : mode == ops::PoolMode::last ? x(b, t, d)
                            : count == 1.0                ? x(b, t, d)
                                                          : std::fmax(value, x(b, t, d));
                }
                out.value(b, g, d) =
                    mode == ops::PoolMode::mean && count > 0.0 ? value / count : value;
                out.count(b, g) = count;
            }
        }
    }
    return out;
}

inline Array pool_grad(
    const Array& x, const Array& group, const Pooled& pooled, const Array& dy, ops::PoolMode mode) {
    Array dx(x.shape);
    for (std::int64_t b = 0; b < x.extent(0); ++b) {
        for (std::int64_t t = 0; t < x.extent(1); ++t) {
            const auto g = static_cast<std::int64_t>(group(b, t));
            bool is_last = true;
            for (std::int64_t later = t + 1; later < x.extent(1); ++later) {
                is_last = is_last && static_cast<std::int64_t>(group(b, later)) != g;
            }
            for (std::int64_t d = 0; d < x.extent(2) && g >= 0; ++d) {
                const bool is_max = x(b, t, d) == pooled.value(b, g, d);
                dx(b, t, d) = mode == ops::PoolMode::mean  ? dy(b, g, d) / pooled.count(b, g)
                              : mode == ops::PoolMode::max ? (is_max ? dy(b, g, d) : 0.0)
                                                           : (is_last ? dy(b, g, d) : 0.0);
            }
        }
    }
    return dx;
}

}  // namespace mambase::test::reference
