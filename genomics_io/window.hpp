// What the model sees of a record: runs between gaps, cut on the context grid.
//
// A *gap* is a stretch of at least `gap` bases that are not A, C, G or T; a *run* is a maximal
// stretch without a gap (shorter stretches of N stay in it). Nothing is read inside a gap, and the
// state resets after it. With context N the base p is read from a state that starts at the later
// of the run's start and the last multiple of N that is at most p - N (0 where there is none), so
// that a value depends on p and N alone. Blocks [kN, (k + 1)N) of one run with the same reset are
// one *window*. With context 0 ("whole") a run is one window. All coordinates are those of the
// strand that is read; the grid counts from its first base.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/source.hpp"
#include "genomics_io/tokenizer.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mambase::io {

struct WindowOptions {
    std::int64_t context = 0;                    // N; 0: whole runs. At most 2^40
    std::int64_t gap = 1000;                     // at least 1
    std::int64_t piece = std::int64_t{1} << 16;  // context 0: codes a piece, at least 1

    /// Error{usage} that names the field.
    void validate() const;
};

/// A stretch of one window. With a context, a window is one piece (of at most 2N codes); with
/// context 0 it comes in pieces of `piece` codes, counted from the run's start, the last shorter.
struct WindowPiece {
    std::int64_t record = 0;
    std::shared_ptr<const std::string> name;
    Strand strand = Strand::forward;
    std::int64_t begin = 0;  // strand coordinate of codes[0]
    std::vector<std::uint8_t> codes;
    std::int64_t window_begin = 0;  // strand coordinate before which the state resets
    bool first = false;             // of its window: that coordinate is `begin`
    bool last = false;              // of its window
    /// The positions of the window whose values count, as far as the window is known: through the
    /// piece's end, and through the position of `next` where there is one. What comes before
    /// score_begin is warm-up. Empty (both equal) while nothing counts yet.
    std::int64_t score_begin = 0;
    std::int64_t score_end = 0;
    int next = -1;  // the code that follows in the same window, -1 where last
};

/// What was read of a record (all of it, unless the source gives a part).
struct RecordSummary {
    std::int64_t record = 0;
    std::string name;
    std::int64_t length = 0;  // bases
    std::int64_t acgt = 0;
    std::int64_t ambiguous = 0;    // IUPAC codes other than N, read as N
    std::int64_t soft_masked = 0;  // lower case
    std::int64_t in_gaps = 0;
};

/// Turns a source into windows; memory O(2N + gap + piece), whatever the length of a record.
class WindowReader {
  public:
    /// `strand` is the strand that the source delivers. `score` is the interval of strand
    /// coordinates that is asked for, of every record of the source (default: everything; of a
    /// circle never more than one turn): windows in which nothing counts are left out, and a window
    /// ends where the interval ends. A source that gives a part of a record has to begin and end as
    /// read_interval() says.
    ///
    /// With context 0 a run that ends before the interval begins is delivered all the same: where
    /// it ends is not known while it is read.
    WindowReader(std::unique_ptr<SequenceSource> source,
                 const Tokenizer& tokenizer,
                 const WindowOptions& options,
                 Strand strand,
                 std::optional<Interval> score = std::nullopt);
    ~WindowReader();
    WindowReader(const WindowReader&) = delete;
    WindowReader& operator=(const WindowReader&) = delete;

    /// The next piece, in order; false at the end of the source. `piece` keeps its memory from call
    /// to call. Errors of the source, and Error{format} for a letter that is no nucleotide code,
    /// with file, record and place.
    bool next(WindowPiece& piece);

    /// The summaries of the records that ended since the last call, in order. That of a record is
    /// there when next() returned a piece of a later record, or false.
    std::vector<RecordSummary> take_summaries();
    /// What the source passed over, so far.
    Skipped skipped() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// The strand coordinates that have to be read so that the values of [score_begin, score_end) come
/// out as in a read of the whole record: from the grid point where their state starts, less `gap`,
/// to their end plus `gap`; from 0 with context 0. A circle is not cut at its ends, and with
/// context 0 is read from one turn before 0.
Interval read_interval(std::int64_t score_begin,
                       std::int64_t score_end,
                       std::int64_t record_length,
                       const WindowOptions& options,
                       bool is_circle = false);

}  // namespace mambase::io
