// Rows of a table by id, in double precision.
#pragma once

#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>

namespace mambase::test::reference {

inline Array embedding(const Array& ids, const Array& table) {
    Array y({ids.extent(0), ids.extent(1), table.extent(1)});
    for (std::int64_t b = 0; b < ids.extent(0); ++b) {
        for (std::int64_t t = 0; t < ids.extent(1); ++t) {
            for (std::int64_t d = 0; d < table.extent(1); ++d) {
                y(b, t, d) = table(static_cast<std::int64_t>(ids(b, t)), d);
            }
        }
    }
    return y;
}

inline Array embedding_grad(const Array& ids, const Array& dy, const Shape& table) {
    Array dtable(table);
    for (std::int64_t b = 0; b < ids.extent(0); ++b) {
        for (std::int64_t t = 0; t < ids.extent(1); ++t) {
            for (std::int64_t d = 0; d < table[1]; ++d) {
                dtable(static_cast<std::int64_t>(ids(b, t)), d) += dy(b, t, d);
            }
        }
    }
    return dtable;
}

}  // namespace mambase::test::reference
