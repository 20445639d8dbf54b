// Rows to a .npy file (NumPy enhancement proposal 1, version 1.0), C order, little-endian.
#pragma once

#include "base/file.hpp"
#include "genomics_io/row_values.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mambase::io {

/// A matrix [rows, dim] on disk whose rows may be written in any order. It appears under its name
/// at finish(), whole; without finish() nothing stays. numpy.load(path, mmap_mode="r") reads it.
class NpySink {
  public:
    /// Error{io} where the file cannot be created; Error{unsupported} for "-" (rows are written in
    /// place); Error{usage} unless dim >= 1.
    NpySink(const std::string& path, RowType type, std::int64_t dim);

    /// rows[n, dim] to the rows first_row ... first_row + n - 1, as RowEncoder has them; nothing of
    /// a call that throws is written.
    void write_rows(std::int64_t first_row, const float* rows, std::int64_t n);

    /// Writes the header and commits. Rows that were never written are zero. Error{usage} where a
    /// row past `total_rows` was written.
    void finish(std::int64_t total_rows);

    /// What the file begins with; its length does not depend on the shape.
    static std::string header(RowType type, std::int64_t dim, std::int64_t rows);
    /// Size of the whole file.
    static std::int64_t file_bytes(RowType type, std::int64_t dim, std::int64_t rows);

  private:
    OutputFile out_;
    RowEncoder encoder_;
    std::int64_t rows_written_ = 0;  // one past the highest row written
};

/// An array [n] of unsigned bytes, written front to back. As NpySink otherwise.
class NpyByteSink {
  public:
    explicit NpyByteSink(const std::string& path);

    void append(std::span<const std::uint8_t> values);
    /// Values so far.
    std::int64_t size() const { return written_ + static_cast<std::int64_t>(pending_.size()); }
    void finish();

  private:
    void flush();

    OutputFile out_;
    std::int64_t written_ = 0;
    std::vector<std::uint8_t> pending_;
};

}  // namespace mambase::io
