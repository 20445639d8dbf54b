// Random windows for training: a draw is a function of (seed, step, lane) and of nothing else.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/region.hpp"
#include "genomics_io/token_store.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace mambase::io {

struct SampledWindow {
    std::int64_t contig = 0;  // −1: no window
    std::int64_t start = 0;   // forward coordinate of its leftmost base
    Strand strand = Strand::forward;
};

/// Windows of context N: N inputs and N targets, so N + 1 codes, inside one run and one interval.
class SampleWindows {
  public:
    /// `intervals` are regions of the store's contigs, forward coordinates; those that overlap are
    /// joined. The store has to outlive this. Error{usage} where no window fits, naming the longest
    /// run there is and what to do.
    SampleWindows(const TokenStore& store, std::vector<Region> intervals, std::int64_t context);

    std::int64_t context() const { return context_; }
    /// Number of different windows (of one strand).
    std::int64_t eligible_starts() const { return cumulative_.back(); }

    /// A window drawn uniformly over all eligible starts; with `both_strands` on either strand,
    /// evenly. Fills codes[N + 1] in the order of reading (the reverse complement on the reverse
    /// strand).
    SampledWindow draw(std::uint64_t seed,
                       std::uint64_t step,
                       std::uint64_t lane,
                       bool both_strands,
                       std::span<std::uint8_t> codes) const;

    /// The window right after one in the order of reading, whose first input is that one's last
    /// target. Empty where it would leave the run or the interval, and where there is none such.
    std::optional<SampledWindow> after(const SampledWindow& window) const;
    /// Fills codes[N + 1] of a window that draw() or after() gave, as draw() does.
    void read(const SampledWindow& window, std::span<std::uint8_t> codes) const;

  private:
    const TokenStore* store_;
    std::int64_t context_;
    std::vector<Region> starts_;            // intervals of eligible starts, ascending
    std::vector<std::int64_t> cumulative_;  // eligible starts through starts_[i]
};

}  // namespace mambase::io
