#include "pipelines/span_plan.hpp"

#include "base/checked_math.hpp"
#include "base/file.hpp"
#include "genomics_io/open.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace mambase::pipelines {

namespace {

/// Spans of what is asked for, in order.
void add_spans(SpanInput& input,
               std::int64_t index,
               const ReadingOptions& options,
               const SpanWishes& wishes) {
    std::vector<io::Region> asked;
    const std::vector<io::Contig>& contigs = input.fasta->contigs();
    if (options.has_regions()) {
        asked = resolve_regions(options, contigs);
    } else {
        for (std::size_t i = 0; i < contigs.size(); ++i) {
            asked.push_back({static_cast<std::int64_t>(i), 0, contigs[i].length});
        }
    }
    for (io::Region& region : asked) {
        if (wishes.pool.how == Pool::bins) {
            const std::int64_t bin = wishes.pool.bin;
            region.begin -= region.begin % bin;
            region.end = std::min(round_up(region.end, bin),
                                  contigs[static_cast<std::size_t>(region.contig)].length);
        }
    }
    if (wishes.joined) {
        asked = joined(std::move(asked));
    }
    for (const io::Region& region : asked) {
        const io::Contig& contig = contigs[static_cast<std::size_t>(region.contig)];
        const io::Interval bases{region.begin, region.end};
        input.spans.push_back(
            {contig.name, region.contig, contig.length, bases, 0, index, std::ssize(input.spans)});
    }
}

/// What rows there are of a shard's bases of a span: a row is of the shard that has its first base.
std::optional<io::Interval> own_bases(const RowSpan& span,
                                      const io::Interval& share,
                                      const Pooling& pool) {
    if (share == span.bases || pool.how == Pool::none) {
        return share;
    }
    if (pool.is_whole()) {
        return share.begin == span.bases.begin ? std::optional(span.bases) : std::nullopt;
    }
    const io::Interval bins{round_up(share.begin, pool.bin),
                            std::min(round_up(share.end, pool.bin), span.bases.end)};
    return bins.begin < bins.end ? std::optional(bins) : std::nullopt;
}

/// Leaves the spans that are the shard's own. By grid every input has spans.
void take_share(SpanPlan& plan, const Pooling& pool, std::int64_t context) {
    std::vector<io::Interval> intervals;
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
        for (const RowSpan& span : plan.inputs[i].spans) {
            plan.rolls[i].add(span.name, span.bases, span.length);
            intervals.push_back(span.bases);
        }
    }
    std::vector<std::optional<io::Interval>> shares;
    if (plan.cut == ShardCut::grid) {
        shares = share_on_grid(*plan.shard, intervals, context);
    }
    std::size_t next = 0;
    for (SpanInput& input : plan.inputs) {
        std::vector<RowSpan> own;
        for (RowSpan& span : input.spans) {
            if (plan.cut == ShardCut::grid) {
                const std::optional<io::Interval>& share = shares[next++];
                const auto bases = share ? own_bases(span, *share, pool) : std::nullopt;
                if (bases) {
                    span.bases = *bases;
                    own.push_back(std::move(span));
                }
            } else if (plan.shard->owns(span.input, span.part)) {
                own.push_back(std::move(span));
            }
        }
        input.spans = std::move(own);
    }
}

}  // namespace

SpanPlan plan_spans(const ReadingOptions& options,
                    const SpanWishes& wishes,
                    std::int64_t context,
                    const Observer& observer) {
    SpanPlan plan;
    plan.circles = io::Circles(options.circular);
    plan.shard = options.shard;
    plan.rolls.resize(options.inputs.size());
    const bool on_grid = plan.shard && context != kWholeContext;
    bool all_indexed = true;
    for (const std::string& path : options.inputs) {
        SpanInput& input = plan.inputs.emplace_back();
        input.path = path;
        if (options.has_regions() || wishes.random_access || on_grid) {
            input.fasta = open_indexable(path, options, observer);
        }
        if (input.fasta) {
            add_spans(input, std::ssize(plan.inputs) - 1, options, wishes);
            note_contigs(input.fasta->contigs(), plan.circles);
        } else {
            all_indexed = false;
        }
    }
    if (plan.shard) {
        plan.cut = on_grid && all_indexed ? ShardCut::grid : ShardCut::record;
        take_share(plan, wishes.pool, context);
    }
    if (all_indexed) {
        plan.circles.require_met();
    }
    return plan;
}

std::vector<io::Interval> groups_of(const std::vector<RowSpan>& spans,
                                    const Pooling& pool,
                                    std::int64_t most) {
    std::vector<io::Interval> groups;
    std::int64_t rows = 0;  // of the last group
    for (std::int64_t i = 0; i < std::ssize(spans); ++i) {
        const std::int64_t more = spans[static_cast<std::size_t>(i)].rows(pool);
        if (groups.empty() || rows + more > most) {
            groups.push_back({i, i});
            rows = 0;
        }
        groups.back().end = i + 1;
        rows += more;
    }
    return groups;
}

std::int64_t bases_computed(const SpanInput& input,
                            io::Circles& circles,
                            const io::WindowOptions& windows) {
    std::int64_t bases = 0;
    for (const RowSpan& span : input.spans) {
        const io::Interval part = io::read_interval(span.bases.begin, span.bases.end, span.length,
                                                    windows, circles.has(span.name));
        bases += bases_computed(part.size(), windows.context);
    }
    return bases;
}

std::unique_ptr<io::SequenceSource> open_swept(const std::string& path,
                                               const ReadingOptions& options,
                                               std::int64_t input,
                                               Roll* roll) {
    auto source = io::open_sequences(path, options.read_options());
    return options.shard ? own_records(std::move(source), *options.shard, input, roll)
                         : std::move(source);
}

std::optional<SequenceCount> count_swept(const std::string& path,
                                         const ReadingOptions& options,
                                         std::int64_t input) {
    if (path == "-" || (exists(path) && !std::filesystem::is_regular_file(path))) {
        return std::nullopt;
    }
    return count_bases(*open_swept(path, options, input, nullptr));
}

}  // namespace mambase::pipelines
