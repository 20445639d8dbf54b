// A matrix of floating-point numbers in a .npy file, read back without loading it.
#pragma once

#include "base/file.hpp"
#include "genomics_io/npy_sink.hpp"

#include <cstdint>
#include <span>
#include <string>

namespace mambase::io {

/// Whether the file begins as a .npy file does. Regular files only.
bool is_npy(const std::string& path);

class NpyArray {
  public:
    /// Error{not_found, io}; Error{format} for what is not [rows, dim] of little-endian f16 or f32
    /// in C order, or is shorter or longer than that says.
    explicit NpyArray(const std::string& path);

    std::int64_t rows() const { return rows_; }
    std::int64_t dim() const { return dim_; }
    /// out: [dim].
    void read_row(std::int64_t row, std::span<float> out) const;

  private:
    MappedFile file_;
    RowType type_ = RowType::f32;
    std::int64_t rows_ = 0;
    std::int64_t dim_ = 0;
    std::int64_t offset_ = 0;  // of the first row, in bytes
};

}  // namespace mambase::io
