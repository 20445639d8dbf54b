#include "genomics_io/row_values.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/half.hpp"

#include <cmath>
#include <string_view>
#include <utility>

namespace mambase::io {

std::int64_t row_bytes(RowType type, std::int64_t dim) {
    return checked_mul(dim, type == RowType::f16 ? 2 : 4);
}

RowEncoder::RowEncoder(std::string path, RowType type, std::int64_t dim)
    : path_(std::move(path)), type_(type), dim_(dim) {
    MAMBASE_REQUIRE(dim >= 1, ErrorCode::usage, "a row has to have at least one channel");
}

std::span<const std::byte> RowEncoder::encode(std::int64_t first_row,
                                              const float* rows,
                                              std::int64_t n) {
    MAMBASE_ASSERT(first_row >= 0 && n >= 0);
    const std::span<const float> values(rows, static_cast<std::size_t>(checked_mul(n, dim_)));
    const auto require = [&](bool fits, std::size_t i, std::string_view why) {
        if (!fits) {
            const auto at = static_cast<std::int64_t>(i);
            throw Error(ErrorCode::format,
                        concat("the value ", static_cast<double>(values[i]), " of row ",
                               first_row + at / dim_, ", channel ", at % dim_, " ", why))
                .at(path_);
        }
    };
    for (std::size_t i = 0; i < values.size(); ++i) {
        require(std::isfinite(values[i]), i, "is not a finite number");
    }
    if (type_ == RowType::f32) {
        return std::as_bytes(values);
    }
    halves_.resize(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        halves_[i] = to_half(values[i]);
        require(is_finite_half(halves_[i]), i, "overflows f16 (use f32)");
    }
    return std::as_bytes(std::span<const std::uint16_t>(halves_));
}

}  // namespace mambase::io
