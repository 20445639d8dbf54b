#include "genomics_io/sample_windows.hpp"

#include "base/error.hpp"
#include "base/rng.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

namespace mambase::io {

SampleWindows::SampleWindows(const TokenStore& store,
                             std::vector<Region> intervals,
                             std::int64_t context)
    : store_(&store), context_(context) {
    MAMBASE_REQUIRE(context >= 1, ErrorCode::usage, "context has to be at least 1");
    std::int64_t total = 0;
    std::int64_t longest = 0;
    for (const Region& interval : join_overlapping(std::move(intervals))) {
        MAMBASE_REQUIRE(interval.contig >= 0 &&
                            interval.contig < static_cast<std::int64_t>(store.contigs().size()),
                        ErrorCode::usage, concat("there is no contig number ", interval.contig));
        for (const Interval& run :
             store.contigs()[static_cast<std::size_t>(interval.contig)].runs) {
            const std::int64_t begin = std::max(run.begin, interval.begin);
            const std::int64_t end = std::min(run.end, interval.end);
            longest = std::max(longest, end - begin);
            if (end - begin > context) {
                starts_.push_back({interval.contig, begin, end - context});
                total += end - begin - context;
                cumulative_.push_back(total);
            }
        }
    }
    MAMBASE_REQUIRE(total > 0, ErrorCode::usage,
                    concat("no stretch of the sequence holds a window of ", context,
                           " bases and the one after it: the longest between gaps has ", longest,
                           "; choose a --context below ", std::max<std::int64_t>(longest, 1),
                           " or give more sequence"));
}

SampledWindow SampleWindows::draw(std::uint64_t seed,
                                  std::uint64_t step,
                                  std::uint64_t lane,
                                  bool both_strands,
                                  std::span<std::uint8_t> codes) const {
    MAMBASE_ASSERT(static_cast<std::int64_t>(codes.size()) == context_ + 1);
    // A stream of its own beside the other draws of a run, for any step below 2^48.
    constexpr std::uint64_t own_stream = std::uint64_t{0x5357} << 48;
    const CounterRng rng(seed, own_stream ^ step);
    const auto nth = static_cast<std::int64_t>(
        rng.below(2 * lane, static_cast<std::uint64_t>(eligible_starts())));
    const auto after = std::upper_bound(cumulative_.begin(), cumulative_.end(), nth);
    const auto i = static_cast<std::size_t>(after - cumulative_.begin());
    const std::int64_t before = i == 0 ? 0 : cumulative_[i - 1];

    SampledWindow window;
    window.contig = starts_[i].contig;
    window.start = starts_[i].begin + (nth - before);
    const bool reverse = both_strands && rng.bits(2 * lane + 1) >> 63 != 0;
    window.strand = reverse ? Strand::reverse : Strand::forward;
    read(window, codes);
    return window;
}

std::optional<SampledWindow> SampleWindows::after(const SampledWindow& window) const {
    const auto next = std::upper_bound(
        starts_.begin(), starts_.end(), window, [](const SampledWindow& one, const Region& starts) {
            return std::tie(one.contig, one.start) < std::tie(starts.contig, starts.begin);
        });
    if (next == starts_.begin()) {
        return std::nullopt;
    }
    const Region& starts = *std::prev(next);
    SampledWindow out = window;
    out.start += window.strand == Strand::forward ? context_ : -context_;
    const bool known = starts.contig == window.contig && window.start < starts.end;
    const bool fits = out.start >= starts.begin && out.start < starts.end;
    return known && fits ? std::optional(out) : std::nullopt;
}

void SampleWindows::read(const SampledWindow& window, std::span<std::uint8_t> codes) const {
    const std::uint8_t* const from =
        store_->contigs()[static_cast<std::size_t>(window.contig)].codes.data() + window.start;
    if (window.strand == Strand::reverse) {
        const Tokenizer& tokenizer = store_->tokenizer();
        std::transform(from, from + codes.size(), codes.rbegin(),
                       [&](std::uint8_t code) { return tokenizer.complement(code); });
    } else {
        std::copy(from, from + codes.size(), codes.begin());
    }
}

}  // namespace mambase::io
