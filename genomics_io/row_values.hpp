// The numbers of rows as files hold them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mambase::io {

enum class RowType { f16, f32 };

/// Bytes of a row of `dim` numbers.
std::int64_t row_bytes(RowType type, std::int64_t dim);

class RowEncoder {
  public:
    /// `path`: for messages. Error{usage} unless dim >= 1.
    RowEncoder(std::string path, RowType type, std::int64_t dim);

    /// rows[n, dim], the rows first_row ... first_row + n - 1, as bytes that are valid until the
    /// next call. In f16, rounded to the nearest, ties to even. A value that is not finite, or
    /// overflows f16, is an Error{format} that names row and channel.
    std::span<const std::byte> encode(std::int64_t first_row, const float* rows, std::int64_t n);

    RowType type() const { return type_; }
    std::int64_t dim() const { return dim_; }

  private:
    std::string path_;
    RowType type_;
    std::int64_t dim_;
    std::vector<std::uint16_t> halves_;
};

}  // namespace mambase::io
