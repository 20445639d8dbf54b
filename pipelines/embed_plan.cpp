#include "pipelines/embed_plan.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "pipelines/embedding_sink.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/row_spool.hpp"
#include "pipelines/survey.hpp"

#include <algorithm>

namespace mambase::pipelines {

namespace {

/// Records whose reverse rows wait in one spool together, unless one record alone has more.
constexpr std::int64_t kSpoolBytes = std::int64_t{1} << 30;

/// By random access.
void plan_indexed(EmbedPlan& plan,
                  SpanInput& input,
                  const EmbedOptions& options,
                  std::int64_t width,
                  const io::WindowOptions& windows) {
    const bool both = both_strands(options.strand);
    plan.computed += (both ? 2 : 1) * bases_computed(input, plan.circles, windows);
    for (const io::Interval group : groups_of(input.spans, options.pool, spool_rows(width))) {
        std::int64_t rows = 0;
        for (std::int64_t i = group.begin; i < group.end; ++i) {
            const RowSpan& span = input.spans[static_cast<std::size_t>(i)];
            plan.bases += span.bases.size();
            rows += span.rows(options.pool);
        }
        if (plan.rows) {
            *plan.rows += rows;
        }
        if (both) {
            plan.waiting = std::max(plan.waiting, RowSpool::bytes(rows, width));
        }
    }
}

/// In one sweep; counted before where it is a file.
void plan_swept(EmbedPlan& plan,
                const std::string& path,
                std::int64_t input,
                const EmbedOptions& options,
                std::int64_t width,
                const io::WindowOptions& windows) {
    const std::optional<SequenceCount> count = count_swept(path, options.reading, input);
    if (!count) {
        plan.rows.reset();
        return;
    }
    std::int64_t rows = count->bases;
    if (options.pool.how == Pool::bins) {
        rows = count->bases / options.pool.bin + count->records;
    } else if (options.pool.is_whole()) {
        rows = count->records;
    }
    if (plan.rows) {
        *plan.rows += rows;
    }
    plan.bases += count->bases;
    const bool both = both_strands(options.strand);
    plan.computed += (both ? 2 : 1) * bases_computed(count->bases, windows.context);
    if (options.strand != StrandChoice::forward) {
        const std::int64_t letters =
            std::min(count->bases, spool_limits(options.pool, width).bases);
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

}  // namespace

bool both_strands(StrandChoice strand) {
    return strand == StrandChoice::concat || strand == StrandChoice::mean;
}

std::int64_t spool_rows(std::int64_t width) {
    return kSpoolBytes / RowSpool::bytes(1, width);
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

EmbedPlan plan_embedding(const EmbedOptions& options,
                         std::int64_t width,
                         const io::WindowOptions& windows,
                         const Observer& observer) {
    const SpanWishes wishes{.pool = options.pool,
                            .joined = options.channel.has_value(),  // a track has each base once
                            .random_access = options.strand != StrandChoice::forward};
    EmbedPlan plan{plan_spans(options.reading, wishes, windows.context, observer)};
    plan.dim = options.strand == StrandChoice::concat ? 2 * width : width;
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
        SpanInput& input = plan.inputs[i];
        if (input.fasta) {
            plan_indexed(plan, input, options, width, windows);
        } else {
            plan_swept(plan, input.path, static_cast<std::int64_t>(i), options, width, windows);
        }
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
    require_space(options.output, output_bytes(options, plan.dim, *plan.rows), plan.waiting);
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
    const CallSize size = engine.reading(model.config(), options.reading.chunk);
    const bool pools = options.pool.how != Pool::none;
    return text +
           forward_plan(engine, model, tokenizer,
                        pools ? size : HiddenLanes::within_host(engine, model.config(), size),
                        pools ? PooledLanes::result_bytes(model.config())
                              : HiddenLanes::result_bytes(model.config()),
                        plan.computed);
}

}  // namespace mambase::pipelines
