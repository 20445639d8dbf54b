#include "pipelines/score_plan.hpp"

#include "base/checked_math.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/open.hpp"
#include "pipelines/base_scores.hpp"
#include "pipelines/survey.hpp"

#include <algorithm>
#include <filesystem>

namespace mambase::pipelines {

namespace {

/// What is asked for, sorted by contig and position, each base once, in whole bins.
std::vector<RowSpan> spans_of(const io::IndexedFasta& fasta, const ScoreOptions& options) {
    const std::vector<io::Contig>& contigs = fasta.contigs();
    std::vector<io::Region> asked;
    if (options.reading.has_regions()) {
        asked = resolve_regions(options.reading, contigs);
    } else {
        for (std::size_t i = 0; i < contigs.size(); ++i) {
            asked.push_back({static_cast<std::int64_t>(i), 0, contigs[i].length});
        }
    }
    for (io::Region& region : asked) {
        region.begin -= region.begin % options.bin;
        region.end = std::min(round_up(region.end, options.bin),
                              contigs[static_cast<std::size_t>(region.contig)].length);
    }
    std::vector<RowSpan> spans;
    for (const io::Region& region : joined(std::move(asked))) {
        const io::Contig& contig = contigs[static_cast<std::size_t>(region.contig)];
        spans.push_back({contig.name, region.contig, contig.length, {region.begin, region.end}, 0});
    }
    return spans;
}

void add_swept(ScorePlan& plan, const ScoreOptions& options, std::int64_t context) {
    const std::string& path = plan.inputs.back().path;
    if (!options.dry_run || path == "-" || !std::filesystem::is_regular_file(path)) {
        return;  // only a plan is worth a reading of its own
    }
    const SequenceCount count =
        count_bases(*io::open_sequences(path, options.reading.read_options()));
    plan.bases += count.bases;
    plan.computed += bases_computed(count.bases, context);
}

}  // namespace

ScorePlan plan_scores(const ScoreOptions& options,
                      const io::WindowOptions& windows,
                      const Observer& observer) {
    ScorePlan plan;
    for (const std::string& path : options.reading.inputs) {
        ScoreInput& input = plan.inputs.emplace_back();
        input.path = path;
        input.fasta = open_indexable(path, options.reading, observer);
        if (!input.fasta) {
            add_swept(plan, options, windows.context);
            continue;
        }
        input.spans = spans_of(*input.fasta, options);
        for (const RowSpan& span : input.spans) {
            const io::Interval part =
                io::read_interval(span.bases.begin, span.bases.end, span.length, windows);
            plan.bases += span.bases.size();
            plan.computed += bases_computed(part.size(), windows.context);
        }
    }
    return plan;
}

std::string describe(const ScorePlan& plan,
                     const ScoreOptions& options,
                     Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t context) {
    std::string text =
        concat("context: ", context == kWholeContext ? "whole" : format_count(context), "\n");
    if (plan.bases == 0) {
        return text + "sequence: a stream, its length is not known\n";
    }
    const int strands = options.strand == ScoreStrand::both ? 2 : 1;
    text += concat("sequence: ", format_count(plan.bases), " bases\n", "output: ", options.output,
                   ", at most ", format_count(ceil_div(plan.bases, options.bin)), " values\n");
    return text + forward_plan(engine, model, tokenizer, engine.chunk(options.reading.chunk),
                               strands * plan.computed);
}

}  // namespace mambase::pipelines
