// From hidden states in the order of reading to rows of an array in forward coordinates.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/pooling.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// A record, or a part of one, and its rows.
struct RowSpan {
    std::string name;
    std::int64_t contig = 0;  // index of the record in its file
    std::int64_t length = 0;  // of the whole record; not known on a stream until it ends
    io::Interval bases;       // forward coordinates; with bins, whole ones but for the record's end
    std::int64_t first_row = 0;
    std::int64_t input = 0;  // index of its file
    std::int64_t part = 0;   // number of the record, or region, in that

    std::int64_t rows(const Pooling& pooling) const { return pooling.rows(bases.size()); }
};

/// Rows of one strand: hidden states, or pooled ones.
class StrandRows {
  public:
    /// rows[n, D] are rows first_row … first_row + n − 1 of the array. Each row comes once; rows
    /// that nothing is known of (gaps, bins and records without A, C, G, T) may be left out or come
    /// as zeros.
    using Sink = std::function<void(std::int64_t first_row, const float* rows, std::int64_t n)>;

    StrandRows(io::Strand strand, const Pooling& pooling, std::int64_t dim, Sink sink);

    /// Without pooling: a row is a position's hidden state. Rows of a span come in the order of
    /// reading, spans one after the other.
    void take(const HiddenRows& hidden, const RowSpan& span);
    /// With pooling: the row that `positions` begin with, and how far it goes; what PooledLanes
    /// then gives for it.
    PooledStretch stretch(const RowSpan& span, io::Interval positions) const;
    void take(std::int64_t row, const double* sum, std::int64_t count);
    /// Hands on what is held back.
    void flush();

  private:
    bool ascending() const { return strand_ == io::Strand::forward || pooling_.is_whole(); }

    io::Strand strand_;
    Pooling pooling_;
    std::int64_t dim_;
    Sink sink_;
    std::vector<float> buffer_;  // rows in the order of reading
    std::int64_t buffered_ = 0;
    std::int64_t latest_row_ = -1;  // of the array, the last in buffer_
};

}  // namespace mambase::pipelines
