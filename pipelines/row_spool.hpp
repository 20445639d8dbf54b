// Rows of one strand that wait for those of the other.
#pragma once

#include "base/file.hpp"

#include <cstdint>

namespace mambase::pipelines {

/// A matrix [rows, dim] of f32 in an unnamed file under TMPDIR. Rows that were never written are
/// zero and take no space. Throws Error{io}.
class RowSpool {
  public:
    RowSpool(std::int64_t rows, std::int64_t dim);

    void write(std::int64_t first_row, const float* rows, std::int64_t n);
    void read(std::int64_t first_row, float* rows, std::int64_t n) const;

    static std::int64_t bytes(std::int64_t rows, std::int64_t dim);

  private:
    std::int64_t offset(std::int64_t row, std::int64_t n) const;

    File file_;
    std::int64_t rows_;
    std::int64_t dim_;
};

}  // namespace mambase::pipelines
