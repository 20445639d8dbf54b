#include "pipelines/embed_plan.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/compression.hpp"
#include "pipelines/row_spool.hpp"
#include "pipelines/survey.hpp"

#include <algorithm>
#include <filesystem>
#include <sys/stat.h>

namespace mambase::pipelines {

namespace {

/// Records whose reverse rows wait in one spool together, unless one record alone has more.
constexpr std::int64_t kSpoolBytes = std::int64_t{1} << 30;

/// Spans of what is asked for, in order, with their rows.
void add_spans(EmbedPlan& plan, const EmbedOptions& options) {
    std::vector<io::Region> asked;
    const std::vector<io::Contig>& contigs = plan.fasta->contigs();
    if (options.reading.has_regions()) {
        asked = resolve_regions(options.reading, contigs);
    } else {
        for (std::size_t i = 0; i < contigs.size(); ++i) {
            asked.push_back({static_cast<std::int64_t>(i), 0, contigs[i].length});
        }
    }
    std::int64_t rows = 0;
    for (const io::Region& region : asked) {
        const io::Contig& contig = contigs[static_cast<std::size_t>(region.contig)];
        io::Interval bases{region.begin, region.end};
        if (options.bin > 0) {
            bases.begin -= bases.begin % options.bin;
            bases.end = std::min(round_up(bases.end, options.bin), contig.length);
        }
        plan.spans.push_back({contig.name, region.contig, contig.length, bases, rows});
        rows += plan.spans.back().rows(options.bin);
        plan.bases += bases.size();
    }
    plan.rows = rows;
}

void add_groups(EmbedPlan& plan, const EmbedOptions& options, std::int64_t width) {
    const std::int64_t most = kSpoolBytes / RowSpool::bytes(1, width);
    const auto end = static_cast<std::int64_t>(plan.spans.size());
    for (std::int64_t first = 0; first < end;) {
        std::int64_t rows = 0;
        std::int64_t last = first;
        while (last < end) {
            const std::int64_t more = plan.spans[static_cast<std::size_t>(last)].rows(options.bin);
            if (last > first && rows + more > most) {
                break;
            }
            rows += more;
            ++last;
        }
        plan.groups.push_back({first, last});
        plan.spool_rows = std::max(plan.spool_rows, rows);
        first = last;
    }
}

std::string size_text(const EmbedPlan& plan, const EmbedOptions& options, std::int64_t rows) {
    return concat(format_bytes(io::NpySink::file_bytes(options.dtype, plan.dim, rows)), " (",
                  format_count(rows), " rows of ", plan.dim,
                  options.dtype == io::RowType::f16 ? " f16" : " f32", " numbers)");
}

/// Whether the output is bounded by max_output.
bool is_guarded(const EmbedOptions& options) {
    return !options.reading.has_regions() && options.bin == 0;
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

EmbedPlan plan_embedding(const EmbedOptions& options,
                         std::int64_t width,
                         const io::WindowOptions& windows,
                         const Observer& observer) {
    EmbedPlan plan;
    plan.dim = options.strand == StrandChoice::concat ? 2 * width : width;
    const std::string path = options.reading.inputs.front();
    const io::ReadOptions read = options.reading.read_options();
    if (options.reading.has_regions() || options.strand != StrandChoice::forward) {
        if (path == "-" || !io::can_be_indexed(path)) {
            const bool reverse = options.strand != StrandChoice::forward;
            throw Error(ErrorCode::usage,
                        concat(reverse ? "the reverse strand needs" : "regions need",
                               " random access, so a file that is plain or bgzip; recompress it "
                               "with bgzip",
                               reverse ? ", or embed the forward strand alone" : ""))
                .at(path == "-" ? "standard input" : path);
        }
        plan.fasta = io::IndexedFasta::open(path, read, observer);
        add_spans(plan, options);
        for (const RowSpan& span : plan.spans) {
            const io::Interval part =
                io::read_interval(span.bases.begin, span.bases.end, span.length, windows);
            plan.computed += bases_computed(part.size(), windows.context);
        }
        if (both_strands(options.strand)) {
            plan.computed *= 2;
            add_groups(plan, options, width);
        }
    } else if (path != "-" && (!exists(path) || std::filesystem::is_regular_file(path))) {
        const SequenceCount count = count_bases(path, read);
        plan.rows = options.bin == 0 ? count.bases : count.bases / options.bin + count.records;
        plan.bases = count.bases;
        plan.computed = bases_computed(count.bases, windows.context);
    }
    return plan;
}

void require_within_limit(const EmbedPlan& plan, const EmbedOptions& options, std::int64_t rows) {
    const bool fits = !is_guarded(options) ||
                      io::NpySink::file_bytes(options.dtype, plan.dim, rows) <= options.max_output;
    MAMBASE_REQUIRE(fits, ErrorCode::usage,
                    concat("the output would take ", size_text(plan, options, rows),
                           ", more than the limit of ", format_bytes(options.max_output),
                           "; name regions, pool into bins, or raise the limit (--max-output)"));
}

void require_feasible(const EmbedPlan& plan, const EmbedOptions& options, std::int64_t width) {
    if (!plan.rows) {
        return;
    }
    require_within_limit(plan, options, *plan.rows);
    const std::string output = parent_directory(options.output);
    const std::string spool = temporary_directory();
    const std::int64_t array = io::NpySink::file_bytes(options.dtype, plan.dim, *plan.rows);
    const std::int64_t waiting = RowSpool::bytes(plan.spool_rows, width);
    if (waiting > 0 && same_file_system(output, spool)) {
        require_space(output, array + waiting, "the array and the rows that wait under TMPDIR");
        return;
    }
    require_space(output, array, "the array");
    require_space(spool, waiting, "the rows that wait under TMPDIR");
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
    if (plan.spool_rows > 0) {
        text +=
            concat("under TMPDIR: ",
                   format_bytes(RowSpool::bytes(plan.spool_rows, model.config().d_model)), "\n");
    }
    return text + forward_plan(engine, model, tokenizer, engine.chunk(options.reading.chunk),
                               plan.computed);
}

}  // namespace mambase::pipelines
