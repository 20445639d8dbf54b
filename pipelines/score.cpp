#include "pipelines/score.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/record_spool.hpp"
#include "genomics_io/track_sink.hpp"
#include "pipelines/base_scores.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/score_files.hpp"
#include "pipelines/score_plan.hpp"
#include "pipelines/score_shard.hpp"
#include "pipelines/window_feed.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

/// Spans whose reverse scores wait together, and how either strand of them is read: span by span,
/// or all in one reading.
struct Group {
    std::vector<RowSpan> spans;  // first_row: bases of the group before this one
    std::function<Reading(std::int64_t span, io::Strand)> make;
    bool together = false;
    /// log p(letter) of the contig of each span; asked for in order.
    std::function<LetterLogits(std::int64_t span)> composition;

    void append(RowSpan span) {
        span.first_row = bases();
        spans.push_back(std::move(span));
    }
    std::int64_t bases() const {
        return spans.empty() ? 0 : spans.back().first_row + spans.back().bases.size();
    }
};

/// Everything that one run shares between its passes.
class ScoreRun {
  public:
    ScoreRun(const ScoreOptions& options,
             const Runtime& runtime,
             Engine& engine,
             const model::Model& model,
             const io::Tokenizer& tokenizer,
             const io::WindowOptions& windows,
             const ScorePlan& plan,
             ScoreSink& sink)
        : options_(options),
          runtime_(runtime),
          engine_(engine),
          model_(model),
          tokenizer_(tokenizer),
          windows_(windows),
          plan_(plan),
          circles_(plan.circles),
          rolls_(plan.rolls),
          bins_(sink, options.bin),
          scores_(options.what, tokenizer, engine.pool(), bins_),
          progress_(runtime.observer,
                    plan.bases.value_or(0) * (options.strand == ScoreStrand::both ? 2 : 1)) {}

    void run() {
        for (std::size_t i = 0; i < plan_.inputs.size(); ++i) {
            if (plan_.inputs[i].fasta) {
                run_indexed(plan_.inputs[i]);
            } else {
                run_spooled(i);
            }
        }
        bins_.finish();
        if (!plan_.shard) {  // which, in a sweep, has records of its own alone
            circles_.require_met();
        }
    }

    void describe(ScoreReport& report) const {
        report.records = records_;
        report.scored = bins_.scored();
        report.sum = bins_.sum();
        report.values = bins_.values();
        report.seconds = progress_.seconds();
    }
    /// Of a shard: what it is of its run.
    std::optional<ShardFacts> shard() const {
        return plan_.shard ? std::optional(ShardFacts{*plan_.shard, plan_.cut, digest_of(rolls_)})
                           : std::nullopt;
    }

  private:
    void run_indexed(const SpanInput& input) {
        const io::IndexedFasta& fasta = *input.fasta;
        std::int64_t counted = -1;  // contig
        LetterLogits composition{};
        Group group;
        group.make = [&](std::int64_t i, io::Strand strand) {
            const RowSpan& of = group.spans[static_cast<std::size_t>(i)];
            return read_part(fasta, of.contig, of.bases, strand, windows_, circles_);
        };
        group.composition = [&](std::int64_t i) {
            const RowSpan& of = group.spans[static_cast<std::size_t>(i)];
            if (of.contig != counted) {
                LetterCounts counts{};
                const auto source = fasta.read(of.contig, 0, of.length, io::Strand::forward);
                count_letters(*source, tokenizer_, [&](std::int64_t, const LetterCounts& more) {
                    std::transform(counts.begin(), counts.end(), more.begin(), counts.begin(),
                                   std::plus<>());
                });
                counted = of.contig;
                composition = log_composition(counts);
            }
            return composition;
        };
        for (const io::Interval part : groups_of(input.spans, {}, kBasesTogether)) {
            group.spans.clear();
            for (std::int64_t i = part.begin; i < part.end; ++i) {
                group.append(input.spans[static_cast<std::size_t>(i)]);
            }
            run_group(group);
        }
    }

    void run_spooled(std::size_t index) {
        const std::string& path = plan_.inputs[index].path;
        const auto input = static_cast<std::int64_t>(index);
        const auto source = open_swept(path, options_.reading, input, &rolls_[index]);
        io::RecordSpool spool;
        while (spool.fill(*source, tokenizer_, kRecordsTogether, kBasesTogether)) {
            Group group;
            group.together = true;
            for (const io::RecordSpool::Record& record : spool.records()) {
                group.append({record.name,
                              record.index,
                              record.length,
                              {0, record.length},
                              0,
                              input,
                              record.index});
            }
            group.make = [&](std::int64_t, io::Strand strand) {
                return Reading{io::with_circles(spool.read(strand), circles_, windows_), strand,
                               std::nullopt};
            };
            std::vector<LetterCounts> counts;
            group.composition = [&](std::int64_t i) {
                if (counts.empty()) {
                    counts.resize(group.spans.size());
                    count_letters(*spool.read(io::Strand::forward), tokenizer_,
                                  [&](std::int64_t record, const LetterCounts& more) {
                                      LetterCounts& of = counts[static_cast<std::size_t>(record)];
                                      std::transform(of.begin(), of.end(), more.begin(), of.begin(),
                                                     std::plus<>());
                                  });
                }
                return log_composition(counts[static_cast<std::size_t>(i)]);
            };
            run_group(group);
        }
        tell_skipped(path, source->skipped(), runtime_.observer);
    }

    /// The reverse strand to a spool, then the forward one, which joins them base by base.
    void run_group(const Group& group) {
        const std::int64_t vocabulary = model_.config().vocab_size;
        std::optional<ReverseScores> reverse;
        if (options_.strand != ScoreStrand::forward) {
            reverse.emplace(group.bases(), tokenizer_);
            pass(group, io::Strand::reverse, [&](const LossRows& rows) {
                reverse->take(rows, vocabulary, span(group, rows.source.tag));
            });
        }
        begun_ = -1;
        const ReverseScores* const waiting = reverse ? &*reverse : nullptr;
        if (options_.strand != ScoreStrand::reverse) {
            pass(group, io::Strand::forward, [&](const LossRows& rows) {
                go_to(group, rows.source.tag, waiting);
                scores_.take(rows, vocabulary);
            });
        }
        go_to(group, std::ssize(group.spans), waiting);
        records_ += std::ssize(group.spans);
    }

    static const RowSpan& span(const Group& group, std::int64_t i) {
        return group.spans[static_cast<std::size_t>(i)];
    }

    /// Ends the spans before `i` and begins that one, if there is one.
    void go_to(const Group& group, std::int64_t i, const ReverseScores* reverse) {
        while (begun_ < i) {
            if (begun_ >= 0) {
                scores_.end();
            }
            if (++begun_ == std::ssize(group.spans)) {
                return;
            }
            const RowSpan& of = span(group, begun_);
            bins_.open(of);
            const bool joins = options_.strand == ScoreStrand::both;
            scores_.begin(of, reverse, joins ? group.composition(begun_) : LetterLogits{});
        }
    }

    void pass(const Group& group, io::Strand strand, const LossLanes::Sink& sink) {
        WindowFeed feed(
            group.together ? 1 : std::ssize(group.spans),
            [&](std::int64_t i) { return group.make(i, strand); }, tokenizer_, windows_);
        LossLanes lanes(
            engine_, model_, tokenizer_, engine_.reading(model_.config(), options_.reading.chunk),
            [&](const LossRows& rows) {
                sink(rows);
                progress_.advance(rows.count, *rows.source.piece.name);
            },
            true);
        const bool tells = strand == io::Strand::forward || options_.strand == ScoreStrand::reverse;
        Delivery delivery;
        while (feed.next(delivery)) {
            runtime_.throw_if_stopped();
            for (const io::RecordSummary& record : delivery.ended) {
                if (tells) {
                    tell_letters(record, runtime_.observer);
                }
            }
            if (delivery.piece) {
                const std::int64_t tag = group.together ? delivery.piece->record : delivery.reading;
                lanes.add({tag, std::move(*delivery.piece)});
            }
        }
        lanes.flush();
    }

    const ScoreOptions& options_;
    const Runtime& runtime_;
    Engine& engine_;
    const model::Model& model_;
    const io::Tokenizer& tokenizer_;
    const io::WindowOptions& windows_;
    const ScorePlan& plan_;
    io::Circles circles_;
    std::vector<Roll> rolls_;  // of a sweep, on the reader's thread
    Bins bins_;
    BaseScores scores_;
    Progress progress_;
    std::int64_t begun_ = -1;  // span of the group
    std::int64_t records_ = 0;
};

}  // namespace

std::string_view name(ScoreWhat what) {
    return what == ScoreWhat::logp ? "logp" : "entropy";
}

std::string_view name(ScoreStrand strand) {
    switch (strand) {
        case ScoreStrand::both:
            return "both";
        case ScoreStrand::forward:
            return "forward";
        case ScoreStrand::reverse:
            return "reverse";
    }
    return "";
}

namespace {

void collect_output_violations(const ScoreOptions& options, std::vector<std::string>& out) {
    if (options.output.empty()) {
        out.emplace_back("no output file");
        return;
    }
    const bool is_shard = options.reading.shard.has_value();
    try {
        io::track_format(options.output);
        if (is_shard && options.output != "-") {
            out.push_back(
                concat("a shard of scores is a file for merge, which makes the track of "
                       "it: give it a name that does not end as a track's, not \"",
                       options.output, "\""));
        }
    } catch (const Error& error) {
        if (!is_shard) {
            out.emplace_back(error.what());
        }
    }
}

}  // namespace

void ScoreOptions::validate() const {
    std::vector<std::string> violations;
    if (model.empty()) {
        violations.emplace_back("no model directory");
    }
    reading.collect_violations(violations);
    collect_output_violations(*this, violations);
    if (bin < 1 || bin > kLongestBin) {
        violations.push_back(
            concat("a bin has 1 to ", format_count(kLongestBin), " bases, not ", bin));
    }
    throw_violations(violations);
}

ScoreReport score(const ScoreOptions& options, const Runtime& runtime) {
    options.validate();
    Engine engine(runtime);
    model::Model loaded = model::Model::load(options.model, host_allocator());
    const std::string hash = loaded.hash();
    const model::Model model = std::move(loaded).on_device(engine.queue());
    const io::Tokenizer& tokenizer =
        choose_tokenizer(model, options.model, options.reading.tokenizer);
    ScoreReport report;
    report.context = choose_context(model, options.reading, runtime.observer);
    const io::WindowOptions windows =
        window_options(options.reading, report.context,
                       engine.reading(model.config(), options.reading.chunk).chunk);
    const ScorePlan plan = plan_scores(options, windows, runtime.observer);
    if (options.dry_run) {
        report.plan = describe(plan, options, engine, model, tokenizer, report.context);
        return report;
    }
    require_feasible(plan, options);
    std::unique_ptr<ScoreSink> sink;
    if (plan.shard) {
        sink = std::make_unique<ScoreShardWriter>(options.output);
    } else {
        sink = std::make_unique<ScoreTrack>(options.output, name(options.what), options.bin,
                                            runtime.threads);
        report.description = description_path(options.output);
    }
    report.output = options.output;
    ScoreRun run(options, runtime, engine, model, tokenizer, windows, plan, *sink);
    run.run();
    run.describe(report);
    sink->finish(score_description(options, report, hash, tokenizer, run.shard(), runtime));
    return report;
}

}  // namespace mambase::pipelines
