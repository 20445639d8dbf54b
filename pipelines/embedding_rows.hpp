// From hidden states in the order of reading to rows of an array in forward coordinates.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/tokenizer.hpp"
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

/// Rows of one strand. Without pooling a row is a position's hidden state; a mean is summed in
/// double in the order of reading.
class StrandRows {
  public:
    /// rows[n, D] are rows first_row … first_row + n − 1 of the array. Each row comes once; rows
    /// that nothing is known of (gaps, bins and records without A, C, G, T) may be left out or come
    /// as zeros.
    using Sink = std::function<void(std::int64_t first_row, const float* rows, std::int64_t n)>;

    /// The tag of a piece is the index of its span. `tokenizer` has to outlive this.
    StrandRows(io::Strand strand,
               const Pooling& pooling,
               std::int64_t dim,
               const io::Tokenizer& tokenizer,
               Sink sink);

    /// Rows of a span come in the order of reading, spans one after the other.
    void take(const HiddenRows& hidden, const RowSpan& span);
    /// Hands on what is held back.
    void finish();

  private:
    void take_bases(const HiddenRows& hidden, const RowSpan& span);
    void take_pooled(const HiddenRows& hidden, const RowSpan& span);
    void add(const float* values);
    void end_row();
    void flush();
    bool ascending() const { return strand_ == io::Strand::forward || pooling_.is_whole(); }

    io::Strand strand_;
    Pooling pooling_;
    std::int64_t dim_;
    const io::Tokenizer& tokenizer_;
    Sink sink_;
    std::vector<float> buffer_;  // rows in the order of reading
    std::int64_t buffered_ = 0;
    std::int64_t latest_row_ = -1;  // of the array, the last in buffer_
    std::vector<double> pooled_;    // of the row being read: sum, maximum or last
    std::int64_t count_ = 0;        // bases in it
    std::int64_t row_ = -1;
};

}  // namespace mambase::pipelines
