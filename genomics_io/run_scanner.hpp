// Finds runs (stretches without a gap, see window.hpp) in a stream of codes.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/tokenizer.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mambase::io {

/// One record at a time:
///     start(p); then scan(codes) until all are consumed; wherever ended() holds, take run() and
///     call leave_run() before scanning on; at the end of the record finish(), and once more if
///     ended().
/// Work is about one look in `gap` codes, and every code inside a gap.
class RunScanner {
  public:
    RunScanner(const Tokenizer& tokenizer, std::int64_t gap) : tokenizer_(&tokenizer), gap_(gap) {}

    /// A record whose first code is at `position`.
    void start(std::int64_t position);
    /// Consumes codes from the front and returns how many: all of them, or through the code that
    /// makes a gap. At most one run begins in a call.
    std::size_t scan(std::span<const std::uint8_t> codes);
    /// The record ends at position(): a short stretch of N before it belongs to the run.
    void finish();

    /// Of the next code to be scanned.
    std::int64_t position() const { return position_; }
    /// A run is open or has just ended.
    bool in_run() const { return state_ != State::gap; }
    bool ended() const { return state_ == State::ended; }
    /// The run as far as it is decided: its end may still grow until ended(). May be empty.
    Interval run() const { return {run_begin_, position_ - pending_}; }
    void leave_run() { state_ = State::gap; }

  private:
    enum class State { run, ended, gap };

    const Tokenizer* tokenizer_;
    std::int64_t gap_;
    State state_ = State::gap;
    std::int64_t position_ = 0;
    std::int64_t run_begin_ = 0;
    std::int64_t pending_ = 0;  // codes just before position_ that may be the start of a gap
};

/// The runs of a whole record, ascending.
std::vector<Interval> find_runs(std::span<const std::uint8_t> codes,
                                const Tokenizer& tokenizer,
                                std::int64_t gap);

}  // namespace mambase::io
