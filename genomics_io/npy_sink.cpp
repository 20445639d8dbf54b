#include "genomics_io/npy_sink.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <span>
#include <string_view>

namespace mambase::io {

static_assert(std::endian::native == std::endian::little);

namespace {

// Fixed, so that rows have their place before their number is known; a multiple of 64, as the
// format asks.
constexpr std::int64_t kHeaderBytes = 128;

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
    : out_(require_file(path)), encoder_(path, type, dim) {}

void NpySink::write_rows(std::int64_t first_row, const float* rows, std::int64_t n) {
    const std::span<const std::byte> bytes = encoder_.encode(first_row, rows, n);
    out_.write_at(bytes, file_bytes(encoder_.type(), encoder_.dim(), first_row));
    rows_written_ = std::max(rows_written_, first_row + n);
}

void NpySink::finish(std::int64_t total_rows) {
    MAMBASE_REQUIRE(total_rows >= rows_written_, ErrorCode::usage,
                    concat("row ", rows_written_ - 1, " was written, but the file is to have ",
                           total_rows, " rows"));
    const RowType type = encoder_.type();
    const std::string text = header(type, encoder_.dim(), total_rows);
    out_.write_at(std::as_bytes(std::span(text.data(), text.size())), 0);
    if (total_rows > rows_written_) {  // what lies between is a hole, which reads as zeros
        constexpr std::array<std::byte, 1> zero{};
        out_.write_at(zero, file_bytes(type, encoder_.dim(), total_rows) - 1);
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
