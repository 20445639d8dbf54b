// Rows of numbers, what they are rows of, and what the numbers mean, in one HDF5 file. There where
// the build has libhdf5.
#pragma once

#include "genomics_io/row_values.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace mambase::io {

/// A dataset "embedding" [rows, dim] (IEEE f16 or f32, chunked, rows that were never written zero),
/// a dataset "rows" of {contig, start, end, strand, first_row, rows}, and attributes of the root.
/// Appears under its name at finish(), whole; without finish() nothing stays. The file holds no
/// times: the same calls give the same bytes.
class Hdf5Sink {
  public:
    /// Error{unsupported} where this build has no HDF5, and for "-".
    Hdf5Sink(const std::string& path, RowType type, std::int64_t dim);
    Hdf5Sink(const Hdf5Sink&) = delete;
    Hdf5Sink& operator=(const Hdf5Sink&) = delete;
    ~Hdf5Sink();

    /// rows[n, dim] to the rows first_row ... first_row + n - 1, in any order, as RowEncoder has
    /// them.
    void write_rows(std::int64_t first_row, const float* rows, std::int64_t n);
    /// A line of "rows": the bases [start, end) of a contig, 0-based.
    void add_span(std::string_view contig,
                  std::int64_t start,
                  std::int64_t end,
                  std::string_view strand,
                  std::int64_t first_row,
                  std::int64_t rows);
    void attribute(const std::string& name, const std::string& text);
    void attribute(const std::string& name, std::int64_t number);

    void finish(std::int64_t total_rows);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace mambase::io
