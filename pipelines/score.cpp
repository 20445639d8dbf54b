#include "pipelines/score.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/record_spool.hpp"
#include "genomics_io/track_sink.hpp"
#include "pipelines/base_scores.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/score_files.hpp"
#include "pipelines/score_plan.hpp"
#include "pipelines/survey.hpp"
#include "pipelines/window_feed.hpp"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

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
             io::TrackSink& sink)
        : options_(options),
          runtime_(runtime),
          engine_(engine),
          model_(model),
          tokenizer_(tokenizer),
          windows_(windows),
          bins_(sink, options.bin),
          scores_(options.what, tokenizer, engine.pool(), bins_),
          progress_(runtime.observer, plan.bases * (options.strand == ScoreStrand::both ? 2 : 1)) {}

    void run(const ScorePlan& plan) {
        for (const ScoreInput& input : plan.inputs) {
            if (input.fasta) {
                run_indexed(input);
            } else {
                run_spooled(input);
            }
        }
        bins_.finish();
    }

    void describe(ScoreReport& report) const {
        report.records = records_;
        report.scored = bins_.scored();
        report.sum = bins_.sum();
        report.values = bins_.values();
        report.seconds = progress_.seconds();
    }

  private:
    void run_indexed(const ScoreInput& input) {
        const io::IndexedFasta& fasta = *input.fasta;
        std::int64_t counted = -1;  // contig
        LetterLogits composition{};
        Group group;
        group.make = [&](std::int64_t i, io::Strand strand) {
            const RowSpan& of = group.spans[static_cast<std::size_t>(i)];
            return read_part(fasta, of.contig, of.bases, strand, windows_);
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
        open_ = -1;
        for (const RowSpan& span : input.spans) {
            if (!group.spans.empty() && group.bases() + span.bases.size() > kBasesTogether) {
                run_group(group);
                group.spans.clear();
            }
            group.append(span);
        }
        run_group(group);
    }

    void run_spooled(const ScoreInput& input) {
        const auto source = io::open_sequences(input.path, options_.reading.read_options());
        io::RecordSpool spool;
        while (spool.fill(*source, tokenizer_, kRecordsTogether, kBasesTogether)) {
            Group group;
            group.together = true;
            for (const io::RecordSpool::Record& record : spool.records()) {
                group.append({record.name, record.index, record.length, {0, record.length}, 0});
            }
            group.make = [&spool](std::int64_t, io::Strand strand) {
                return Reading{spool.read(strand), strand, std::nullopt};
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
            open_ = -1;
            run_group(group);
        }
        tell_skipped(input.path, source->skipped(), runtime_.observer);
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
            if (of.contig != open_) {
                bins_.contig(of.name, of.length);
                open_ = of.contig;
            }
            const bool joins = options_.strand == ScoreStrand::both;
            scores_.begin(of, reverse, joins ? group.composition(begun_) : LetterLogits{});
        }
    }

    void pass(const Group& group, io::Strand strand, const LossLanes::Sink& sink) {
        WindowFeed feed(
            group.together ? 1 : std::ssize(group.spans),
            [&](std::int64_t i) { return group.make(i, strand); }, tokenizer_, windows_);
        LossLanes lanes(
            engine_, model_, tokenizer_, engine_.chunk(options_.reading.chunk),
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
    Bins bins_;
    BaseScores scores_;
    Progress progress_;
    std::int64_t open_ = -1;   // contig of the input that the track is at
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

void ScoreOptions::validate() const {
    std::vector<std::string> violations;
    if (model.empty()) {
        violations.emplace_back("no model directory");
    }
    reading.collect_violations(violations);
    if (output.empty()) {
        violations.emplace_back("no output file");
    } else {
        try {
            io::track_format(output);
        } catch (const Error& error) {
            violations.emplace_back(error.what());
        }
    }
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
        window_options(options.reading, report.context, engine.chunk(options.reading.chunk));
    const ScorePlan plan = plan_scores(options, windows, runtime.observer);
    if (options.dry_run) {
        report.plan = describe(plan, options, engine, model, tokenizer, report.context);
        return report;
    }
    report.output = options.output;
    const std::unique_ptr<io::TrackSink> sink =
        io::open_track(options.output, name(options.what), options.bin, runtime.threads);
    ScoreRun run(options, runtime, engine, model, tokenizer, windows, plan, *sink);
    run.run(plan);
    run.describe(report);
    if (options.output == "-") {
        sink->finish();
        return report;
    }
    report.description = concat(io::track_stem(options.output), ".json");
    write_score_description(report.description, options, report, hash, tokenizer, runtime);
    try {
        sink->finish();
    } catch (...) {  // it means nothing without the values
        std::error_code ignored;
        std::filesystem::remove(report.description, ignored);
        throw;
    }
    return report;
}

}  // namespace mambase::pipelines
