#include "pipelines/embed_plan.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/open.hpp"
#include "pipelines/embedding_sink.hpp"
#include "pipelines/row_spool.hpp"
#include "pipelines/survey.hpp"

#include <algorithm>
#include <filesystem>
#include <sys/stat.h>

namespace mambase::pipelines {

namespace {

/// Records whose reverse rows wait in one spool together, unless one record alone has more.
constexpr std::int64_t kSpoolBytes = std::int64_t{1} << 30;

/// Rows that take that space.
std::int64_t spool_rows(std::int64_t width) {
    return kSpoolBytes / RowSpool::bytes(1, width);
}

/// Spans of what is asked for, in order.
void add_spans(InputPlan& input, std::int64_t index, const EmbedOptions& options) {
    std::vector<io::Region> asked;
    const std::vector<io::Contig>& contigs = input.fasta->contigs();
    if (options.reading.has_regions()) {
        asked = resolve_regions(options.reading, contigs);
    } else {
        for (std::size_t i = 0; i < contigs.size(); ++i) {
            asked.push_back({static_cast<std::int64_t>(i), 0, contigs[i].length});
        }
    }
    for (io::Region& region : asked) {
        if (options.pool.how == Pool::bins) {
            const std::int64_t bin = options.pool.bin;
            region.begin -= region.begin % bin;
            region.end = std::min(round_up(region.end, bin),
                                  contigs[static_cast<std::size_t>(region.contig)].length);
        }
    }
    if (options.channel) {  // a track has each base once
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
void take_share(EmbedPlan& plan, const Pooling& pool, std::int64_t context) {
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
    for (InputPlan& input : plan.inputs) {
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

/// Returns the rows of the largest group.
std::int64_t add_groups(InputPlan& input, const EmbedOptions& options, std::int64_t width) {
    std::int64_t largest = 0;
    const auto end = static_cast<std::int64_t>(input.spans.size());
    for (std::int64_t first = 0; first < end;) {
        std::int64_t rows = 0;
        std::int64_t last = first;
        while (last < end) {
            const std::int64_t more =
                input.spans[static_cast<std::size_t>(last)].rows(options.pool);
            if (last > first && rows + more > spool_rows(width)) {
                break;
            }
            rows += more;
            ++last;
        }
        input.groups.push_back({first, last});
        largest = std::max(largest, rows);
        first = last;
    }
    return largest;
}

/// By random access.
void plan_indexed(EmbedPlan& plan,
                  InputPlan& input,
                  const EmbedOptions& options,
                  std::int64_t width,
                  const io::WindowOptions& windows) {
    std::int64_t rows = 0;
    for (RowSpan& span : input.spans) {
        span.first_row = rows;
        rows += span.rows(options.pool);
    }
    if (plan.rows) {
        *plan.rows += rows;
    }
    const bool both = both_strands(options.strand);
    note_contigs(input.fasta->contigs(), plan.circles);
    for (const RowSpan& span : input.spans) {
        const io::Interval part = io::read_interval(span.bases.begin, span.bases.end, span.length,
                                                    windows, plan.circles.has(span.name));
        plan.bases += span.bases.size();
        plan.computed += (both ? 2 : 1) * bases_computed(part.size(), windows.context);
    }
    if (both) {
        plan.waiting =
            std::max(plan.waiting, RowSpool::bytes(add_groups(input, options, width), width));
    }
}

/// In one sweep; counted before where it is a file.
void plan_swept(EmbedPlan& plan,
                const std::string& path,
                std::int64_t input,
                const EmbedOptions& options,
                std::int64_t width,
                const io::WindowOptions& windows) {
    if (path == "-" || (exists(path) && !std::filesystem::is_regular_file(path))) {
        plan.rows.reset();
        return;
    }
    const SequenceCount count = count_bases(*open_swept(path, options.reading, input, nullptr));
    std::int64_t rows = count.bases;
    if (options.pool.how == Pool::bins) {
        rows = count.bases / options.pool.bin + count.records;
    } else if (options.pool.is_whole()) {
        rows = count.records;
    }
    if (plan.rows) {
        *plan.rows += rows;
    }
    plan.bases += count.bases;
    const bool both = both_strands(options.strand);
    plan.computed += (both ? 2 : 1) * bases_computed(count.bases, windows.context);
    if (options.strand != StrandChoice::forward) {
        const std::int64_t letters = std::min(count.bases, spool_limits(options.pool, width).bases);
        const std::int64_t reverse =
            both ? RowSpool::bytes(std::min(rows, spool_rows(width)), width) : 0;
        plan.waiting = std::max(plan.waiting, letters + reverse);
    }
}

std::string size_text(const EmbedPlan& plan, const EmbedOptions& options, std::int64_t rows) {
    return concat(format_bytes(output_bytes(options, plan.dim, rows)), " (", format_count(rows),
                  options.channel ? " values" : concat(" rows of ", plan.dim),
                  options.dtype == io::RowType::f16 && !options.channel ? " f16" : " f32",
                  options.channel ? ")" : " numbers)");
}

/// Whether the output is bounded by max_output.
bool is_guarded(const EmbedOptions& options) {
    return !options.reading.has_regions() && options.pool.how == Pool::none;
}

bool same_file_system(const std::string& a, const std::string& b) {
    struct stat first {};
    struct stat second {};
    return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
           first.st_dev == second.st_dev;
}

void require_space(const std::string& directory, std::int64_t bytes, std::string_view what) {
    const std::int64_t space = free_space(directory);
    if (bytes > space) {
        throw Error(ErrorCode::io, concat("not enough space for ", what, ": ", format_bytes(bytes),
                                          " needed, ", format_bytes(space), " free"))
            .at(directory);
    }
}

}  // namespace

bool both_strands(StrandChoice strand) {
    return strand == StrandChoice::concat || strand == StrandChoice::mean;
}

SpoolLimits spool_limits(const Pooling& pooling, std::int64_t width) {
    constexpr std::int64_t most_records = std::int64_t{1} << 16;
    constexpr std::int64_t most_bases = std::int64_t{1} << 28;
    const std::int64_t rows = std::max<std::int64_t>(1, spool_rows(width));
    SpoolLimits limits{most_records, most_bases};
    if (pooling.how == Pool::none) {
        limits.bases = std::min(most_bases, rows);
    } else if (pooling.how == Pool::bins) {
        limits.bases = rows > most_bases / pooling.bin ? most_bases : rows * pooling.bin;
    }
    return limits;
}

std::unique_ptr<io::SequenceSource> open_swept(const std::string& path,
                                               const ReadingOptions& options,
                                               std::int64_t input,
                                               Roll* roll) {
    auto source = io::open_sequences(path, options.read_options());
    return options.shard ? own_records(std::move(source), *options.shard, input, roll)
                         : std::move(source);
}

EmbedPlan plan_embedding(const EmbedOptions& options,
                         std::int64_t width,
                         const io::WindowOptions& windows,
                         const Observer& observer) {
    EmbedPlan plan;
    plan.circles = io::Circles(options.reading.circular);
    plan.rows = 0;
    plan.dim = options.strand == StrandChoice::concat ? 2 * width : width;
    plan.shard = options.reading.shard;
    plan.rolls.resize(options.reading.inputs.size());
    const bool on_grid = plan.shard && windows.context != kWholeContext;
    bool all_indexed = true;
    for (const std::string& path : options.reading.inputs) {
        InputPlan& input = plan.inputs.emplace_back();
        input.path = path;
        if (options.reading.has_regions() || options.strand != StrandChoice::forward || on_grid) {
            input.fasta = open_indexable(path, options.reading, observer);
        }
        if (input.fasta) {
            add_spans(input, std::ssize(plan.inputs) - 1, options);
        } else {
            all_indexed = false;
        }
    }
    if (plan.shard) {
        plan.cut = on_grid && all_indexed ? ShardCut::grid : ShardCut::record;
        take_share(plan, options.pool, windows.context);
    }
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
        InputPlan& input = plan.inputs[i];
        if (input.fasta) {
            plan_indexed(plan, input, options, width, windows);
        } else {
            plan_swept(plan, input.path, static_cast<std::int64_t>(i), options, width, windows);
        }
    }
    if (all_indexed) {
        plan.circles.require_met();
    }
    return plan;
}

void require_within_limit(const EmbedPlan& plan, const EmbedOptions& options, std::int64_t rows) {
    const bool fits =
        !is_guarded(options) || output_bytes(options, plan.dim, rows) <= options.max_output;
    MAMBASE_REQUIRE(fits, ErrorCode::usage,
                    concat("the output would take ", size_text(plan, options, rows),
                           ", more than the limit of ", format_bytes(options.max_output),
                           "; name regions, pool into bins, or raise the limit (--max-output)"));
}

void require_feasible(const EmbedPlan& plan, const EmbedOptions& options) {
    if (!plan.rows) {
        return;
    }
    require_within_limit(plan, options, *plan.rows);
    const std::string output = parent_directory(options.output);
    const std::string spool = temporary_directory();
    const std::int64_t array = output_bytes(options, plan.dim, *plan.rows);
    const std::int64_t waiting = plan.waiting;
    if (waiting > 0 && same_file_system(output, spool)) {
        require_space(output, array + waiting, "the array and what waits under TMPDIR");
        return;
    }
    require_space(output, array, "the array");
    require_space(spool, waiting, "what waits under TMPDIR");
}

std::string describe(const EmbedPlan& plan,
                     const EmbedOptions& options,
                     Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t context) {
    std::string text =
        concat("context: ", context == kWholeContext ? "whole" : format_count(context), "\n");
    if (!plan.rows) {
        return text + "sequence: a stream, its length is not known\n";
    }
    text += concat("sequence: ", format_count(plan.bases), " bases\n");
    text += concat("array: ", options.output, ", ", size_text(plan, options, *plan.rows), "\n");
    if (plan.waiting > 0) {
        text += concat("under TMPDIR: ", format_bytes(plan.waiting), "\n");
    }
    return text + forward_plan(engine, model, tokenizer, engine.chunk(options.reading.chunk),
                               plan.computed);
}

}  // namespace mambase::pipelines
