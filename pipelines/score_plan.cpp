#include "pipelines/score_plan.hpp"

#include "base/checked_math.hpp"
#include "base/text.hpp"
#include "genomics_io/track_sink.hpp"
#include "pipelines/base_scores.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/score_shard.hpp"
#include "pipelines/survey.hpp"

#include <algorithm>

namespace mambase::pipelines {

namespace {

/// Bases that are scored, or whose letters are kept, together.
void add_waiting(ScorePlan& plan, const ScoreOptions& options, std::int64_t bases, bool swept) {
    const bool both_ways = options.strand != ScoreStrand::forward;
    const std::int64_t bytes = (swept ? bases : 0) + (both_ways ? ReverseScores::bytes(bases) : 0);
    plan.waiting = std::max(plan.waiting, bytes);
}

std::int64_t values_of(const ScorePlan& plan, const ScoreOptions& options) {
    return ceil_div(*plan.bases, options.bin);
}

/// Of the output and under TMPDIR.
io::TrackSpace output_space(const ScorePlan& plan, const ScoreOptions& options) {
    const std::int64_t values = values_of(plan, options);
    return plan.shard ? io::TrackSpace{kScoreShardBytes * values, 0}
                      : io::track_space(options.output, values);
}

}  // namespace

ScorePlan plan_scores(const ScoreOptions& options,
                      const io::WindowOptions& windows,
                      const Observer& observer) {
    const SpanWishes wishes{.pool = Pooling::bins(options.bin), .joined = true};
    ScorePlan plan{plan_spans(options.reading, wishes, windows.context, observer)};
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
        const SpanInput& input = plan.inputs[i];
        if (input.fasta) {
            plan.computed += bases_computed(input, plan.circles, windows);
            for (const io::Interval group : groups_of(input.spans, {}, kBasesTogether)) {
                std::int64_t bases = 0;
                for (std::int64_t span = group.begin; span < group.end; ++span) {
                    bases += input.spans[static_cast<std::size_t>(span)].bases.size();
                }
                if (plan.bases) {
                    *plan.bases += bases;
                }
                add_waiting(plan, options, bases, false);
            }
            continue;
        }
        const std::optional<SequenceCount> count =
            count_swept(input.path, options.reading, static_cast<std::int64_t>(i));
        if (count && plan.bases) {
            *plan.bases += count->bases;
            plan.computed += bases_computed(count->bases, windows.context);
            add_waiting(plan, options, std::min(count->bases, kBasesTogether), true);
        } else {
            plan.bases.reset();
        }
    }
    return plan;
}

void require_feasible(const ScorePlan& plan, const ScoreOptions& options) {
    if (plan.bases) {
        const io::TrackSpace space = output_space(plan, options);
        require_space(options.output, space.file, checked_add(plan.waiting, space.waiting));
    }
}

std::string describe(const ScorePlan& plan,
                     const ScoreOptions& options,
                     Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t context) {
    std::string text =
        concat("context: ", context == kWholeContext ? "whole" : format_count(context), "\n");
    if (!plan.bases) {
        return text + "sequence: a stream, its length is not known\n";
    }
    const int strands = options.strand == ScoreStrand::both ? 2 : 1;
    const io::TrackSpace space = output_space(plan, options);
    text += concat("sequence: ", format_count(*plan.bases), " bases\n", "output: ", options.output,
                   ", at most ", format_count(values_of(plan, options)), " values, about ",
                   format_bytes(space.file), "\n");
    if (plan.waiting + space.waiting > 0) {
        text += concat("under TMPDIR: ", format_bytes(plan.waiting + space.waiting), "\n");
    }
    return text + forward_plan(engine, model, tokenizer,
                               engine.reading(model.config(), options.reading.chunk),
                               LossLanes::result_bytes(model.config(), true),
                               strands * plan.computed);
}

}  // namespace mambase::pipelines
