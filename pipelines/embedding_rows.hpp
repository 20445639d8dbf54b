// From hidden states in the order of reading to rows of an array in forward coordinates.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/lanes.hpp"

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
    io::Interval bases;       // forward coordinates; with bins, whole bins but for the record's end
    std::int64_t first_row = 0;

    /// `bin` 0: one row a base.
    std::int64_t rows(std::int64_t bin) const;
};

/// Rows of one strand. Without bins a row is a position's hidden state; with bins the mean over the
/// A, C, G, T of the bin, summed in double in the order of reading.
class StrandRows {
  public:
    /// rows[n, D] are rows first_row … first_row + n − 1 of the array. Each row comes once; rows
    /// that nothing is known of (gaps, bins without A, C, G, T) may be left out or come as zeros.
    using Sink = std::function<void(std::int64_t first_row, const float* rows, std::int64_t n)>;

    /// The tag of a piece is the index of its span. `tokenizer` has to outlive this.
    StrandRows(io::Strand strand,
               std::int64_t bin,
               std::int64_t dim,
               const io::Tokenizer& tokenizer,
               Sink sink);

    /// Rows of a span come in the order of reading, spans one after the other.
    void take(const HiddenRows& hidden, const RowSpan& span);
    /// Hands on what is held back.
    void finish();

  private:
    void take_bases(const HiddenRows& hidden, const RowSpan& span);
    void take_bins(const HiddenRows& hidden, const RowSpan& span);
    void end_bin();
    void flush();

    io::Strand strand_;
    std::int64_t bin_;
    std::int64_t dim_;
    const io::Tokenizer& tokenizer_;
    Sink sink_;
    std::vector<float> buffer_;  // rows in the order of reading
    std::int64_t buffered_ = 0;
    std::int64_t latest_row_ = -1;  // of the array, the last in buffer_
    std::vector<double> sum_;       // of the bin being read
    std::int64_t summed_ = 0;       // bases in it
    std::int64_t bin_row_ = -1;     // its row
};

}  // namespace mambase::pipelines
