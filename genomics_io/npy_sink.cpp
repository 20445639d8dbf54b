#include "genomics_io/npy_sink.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/half.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>

namespace mambase::io {

static_assert(std::endian::native == std::endian::little);

namespace {

// Fixed, so that rows have their place before their number is known; a multiple of 64, as the
// format asks.
constexpr std::int64_t kHeaderBytes = 128;

std::int64_t row_bytes(RowType type, std::int64_t dim) {
    return checked_mul(dim, type == RowType::f16 ? 2 : 4);
}

std::string header_text(std::string_view type, std::string_view shape) {
    using namespace std::string_view_literals;
    std::string text =
        concat("\x93NUMPY\1\0"sv, static_cast<char>(kHeaderBytes - 10), '\0', "{'descr': '", type,
               "', 'fortran_order': False, 'shape': (", shape, "), }");
    text.resize(kHeaderBytes - 1, ' ');
    text.push_back('\n');
    return text;
}

/// Rows are written in place, which a pipe does not allow.
const std::string& require_file(const std::string& path) {
    MAMBASE_REQUIRE(path != "-", ErrorCode::unsupported,
                    "a .npy file is written in place: it needs a file, not standard output");
    return path;
}

}  // namespace

NpySink::NpySink(const std::string& path, RowType type, std::int64_t dim)
    : out_(require_file(path)), type_(type), dim_(dim) {
    MAMBASE_REQUIRE(dim >= 1, ErrorCode::usage, "a row has to have at least one channel");
}

void NpySink::write_rows(std::int64_t first_row, const float* rows, std::int64_t n) {
    MAMBASE_ASSERT(first_row >= 0 && n >= 0);
    const std::span<const float> values(rows, static_cast<std::size_t>(checked_mul(n, dim_)));
    const auto require = [&](bool fits, std::size_t i, std::string_view why) {
        if (!fits) {
            const auto at = static_cast<std::int64_t>(i);
            throw Error(ErrorCode::format,
                        concat("the value ", static_cast<double>(values[i]), " of row ",
                               first_row + at / dim_, ", channel ", at % dim_, " ", why))
                .at(out_.path());
        }
    };
    for (std::size_t i = 0; i < values.size(); ++i) {
        require(std::isfinite(values[i]), i, "is not a finite number");
    }
    std::span<const std::byte> bytes = std::as_bytes(values);
    if (type_ == RowType::f16) {
        halves_.resize(values.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
            halves_[i] = to_half(values[i]);
            require(is_finite_half(halves_[i]), i, "overflows f16 (use f32)");
        }
        bytes = std::as_bytes(std::span<const std::uint16_t>(halves_));
    }
    out_.write_at(bytes, kHeaderBytes + checked_mul(first_row, row_bytes(type_, dim_)));
    rows_written_ = std::max(rows_written_, first_row + n);
}

void NpySink::finish(std::int64_t total_rows) {
    MAMBASE_REQUIRE(total_rows >= rows_written_, ErrorCode::usage,
                    concat("row ", rows_written_ - 1, " was written, but the file is to have ",
                           total_rows, " rows"));
    const std::string text = header(type_, dim_, total_rows);
    out_.write_at(std::as_bytes(std::span(text.data(), text.size())), 0);
    if (total_rows > rows_written_) {  // what lies between is a hole, which reads as zeros
        constexpr std::array<std::byte, 1> zero{};
        out_.write_at(zero, file_bytes(type_, dim_, total_rows) - 1);
    }
    out_.commit();
}

std::string NpySink::header(RowType type, std::int64_t dim, std::int64_t rows) {
    return header_text(type == RowType::f16 ? "<f2" : "<f4", concat(rows, ", ", dim));
}

std::int64_t NpySink::file_bytes(RowType type, std::int64_t dim, std::int64_t rows) {
    return checked_add(kHeaderBytes, checked_mul(rows, row_bytes(type, dim)));
}

NpyByteSink::NpyByteSink(const std::string& path) : out_(require_file(path)) {}

void NpyByteSink::append(std::span<const std::uint8_t> values) {
    constexpr std::size_t most_pending = std::size_t{1} << 20;
    pending_.insert(pending_.end(), values.begin(), values.end());
    if (pending_.size() >= most_pending) {
        flush();
    }
}

void NpyByteSink::flush() {
    out_.write_at(std::as_bytes(std::span<const std::uint8_t>(pending_)), kHeaderBytes + written_);
    written_ += static_cast<std::int64_t>(pending_.size());
    pending_.clear();
}

void NpyByteSink::finish() {
    flush();
    const std::string text = header_text("|u1", concat(written_, ','));
    out_.write_at(std::as_bytes(std::span(text.data(), text.size())), 0);
    out_.commit();
}

}  // namespace mambase::io
