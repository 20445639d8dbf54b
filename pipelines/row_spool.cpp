#include "pipelines/row_spool.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"

#include <array>
#include <span>

namespace mambase::pipelines {

RowSpool::RowSpool(std::int64_t rows, std::int64_t dim)
    : file_(File::temporary()), rows_(rows), dim_(dim) {
    MAMBASE_ASSERT(rows >= 0 && dim > 0);
    if (rows > 0) {  // its last byte sets the file's size: what is not written reads as zero
        const std::array<std::byte, 1> zero{};
        file_.write_at(zero, bytes(rows, dim) - 1);
    }
}

void RowSpool::write(std::int64_t first_row, const float* rows, std::int64_t n) {
    const std::span<const float> values(rows, static_cast<std::size_t>(n * dim_));
    file_.write_at(std::as_bytes(values), offset(first_row, n));
}

void RowSpool::read(std::int64_t first_row, float* rows, std::int64_t n) const {
    const std::span<float> values(rows, static_cast<std::size_t>(n * dim_));
    file_.read_at(std::as_writable_bytes(values), offset(first_row, n));
}

std::int64_t RowSpool::bytes(std::int64_t rows, std::int64_t dim) {
    return checked_mul(checked_mul(rows, dim), static_cast<std::int64_t>(sizeof(float)));
}

std::int64_t RowSpool::offset(std::int64_t row, std::int64_t n) const {
    MAMBASE_ASSERT(row >= 0 && n >= 0 && row + n <= rows_);
    return bytes(row, dim_);
}

}  // namespace mambase::pipelines
