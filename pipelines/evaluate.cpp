#include "pipelines/evaluate.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "pipelines/baseline.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/evaluate_plan.hpp"
#include "pipelines/evaluate_shard.hpp"
#include "pipelines/evaluate_sums.hpp"
#include "pipelines/evaluate_table.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/progress.hpp"
#include "pipelines/shard_files.hpp"
#include "pipelines/survey.hpp"
#include "pipelines/window_feed.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;

std::string plan_text(Engine& engine,
                      const model::Model& model,
                      const io::Tokenizer& tokenizer,
                      EvaluateWork& work,
                      const ReadingOptions& options,
                      const std::vector<std::int64_t>& contexts) {
    SequenceCount count;
    for (const EvaluateWork::Part& part : work.parts) {
        count.records += 1;
        count.bases += part.bases.size();
    }
    for (std::size_t i = 0; !work.by_parts() && i < work.inputs.size(); ++i) {
        const Reading reading = work.read(static_cast<std::int64_t>(i), options.read_options(), {});
        const SequenceCount one = count_bases(*reading.source);
        count.records += one.records;
        count.bases += one.bases;
    }
    std::string names;
    std::int64_t computed = 0;
    for (const std::int64_t context : contexts) {
        names += concat(names.empty() ? "" : "; ",
                        context == kWholeContext ? "whole" : format_count(context));
        computed += bases_computed(count.bases, context);
    }
    return concat(
        "sequence: ", format_count(count.bases), " bases in ", format_count(count.records),
        options.has_regions() ? " regions"
        : work.by_parts()     ? " parts"
                              : " records",
        "\n", "context: ", names, "\n",
        forward_plan(engine, model, tokenizer, engine.reading(model.config(), options.chunk),
                     LossLanes::result_bytes(model.config(), false), computed));
}

void fit_baseline(std::optional<MarkovBaseline>& baseline,
                  const EvaluateOptions& options,
                  const io::Tokenizer& tokenizer,
                  const Runtime& runtime) {
    if (options.baseline.empty()) {
        return;
    }
    const bool own = options.baseline_train.empty();
    if (own) {
        runtime.observer.warning(
            "the Markov baseline is fitted on the files that it is scored on; "
            "name others to train it on for a fair comparison");
    }
    baseline.emplace(options.baseline, tokenizer);
    baseline->fit(own ? options.reading.inputs : options.baseline_train,
                  options.reading.read_options(), runtime);
}

/// The contexts to read with, with the warnings that choose_context gives.
std::vector<std::int64_t> choose_contexts(const model::Model& model,
                                          const EvaluateOptions& options,
                                          const Observer& observer) {
    if (options.contexts.empty()) {
        return {choose_context(model, options.reading, observer)};
    }
    std::vector<std::int64_t> out;
    for (const std::int64_t context : options.contexts) {
        ReadingOptions one = options.reading;
        one.context = context;
        out.push_back(choose_context(model, one, observer));
    }
    return out;
}

/// What the passes over the sequence share, one for each context.
class EvaluateRun {
  public:
    EvaluateRun(const EvaluateOptions& options,
                const Runtime& runtime,
                Engine& engine,
                const model::Model& model,
                const io::Tokenizer& tokenizer,
                EvaluateWork& work,
                const EvaluateLines& lines)
        : options_(options),
          runtime_(runtime),
          engine_(engine),
          model_(model),
          tokenizer_(tokenizer),
          work_(work),
          lines_(lines),
          grid_(sum_grid(lines.contexts)),
          progress_(runtime.observer, 0) {}

    /// The sums of all passes but the last wait, block by block, for those of the last.
    void run(SumSink& sink) {
        fit_baseline(baseline_, options_, tokenizer_, runtime_);
        const std::size_t last = lines_.contexts.size() - 1;
        std::vector<SumSpool> earlier(last);
        for (std::size_t c = 0; c < last; ++c) {
            pass(lines_.contexts[c],
                 {.part = [](const EvaluatePart&) {},
                  .block = [&spool = earlier[c]](
                               SumLine line, const CaseTally& tally) { spool.add(line, tally); },
                  .markov = {}});
        }
        std::vector<CaseTally> at(last + 1);
        pass(lines_.contexts[last],
             {.part = [&](const EvaluatePart& part) { sink.part(part); },
              .block =
                  [&](SumLine line, const CaseTally& tally) {
                      std::transform(earlier.begin(), earlier.end(), at.begin(),
                                     [line](SumSpool& spool) { return spool.next(line); });
                      at[last] = tally;
                      sink.block(line, at);
                  },
              .markov = {}});
    }

    /// What the Markov models were fitted on.
    std::string baseline_digest() const { return baseline_ ? baseline_->digest() : ""; }
    std::int64_t bases_read() const { return bases_read_; }
    double seconds() const { return progress_.seconds(); }

  private:
    void pass(std::int64_t context, BlockSums::Sinks sinks) {
        const CallSize size = engine_.reading(model_.config(), options_.reading.chunk);
        const io::WindowOptions windows = window_options(options_.reading, context, size.chunk);
        if (baseline_) {
            baseline_->start(grid_);
            sinks.markov = [this] { return baseline_->next_block(); };
        }
        BlockSums sums(grid_, options_.by, work_.regions, std::move(sinks));
        LossLanes lanes(engine_, model_, tokenizer_, size, [&](const LossRows& rows) {
            sums.take(rows);
            progress_.advance(rows.count, *rows.source.piece.name);
        });
        WindowFeed feed(
            work_.readings(),
            [&](std::int64_t i) { return work_.read(i, options_.reading.read_options(), windows); },
            tokenizer_, windows);
        read_through(feed, sums, lanes);
        lanes.flush();
        sums.finish();
        told_ = true;
        work_.require_circles();
    }

    /// Hands every piece to `lanes`, tagged with the number of its part.
    void read_through(WindowFeed& feed, BlockSums& sums, LossLanes& lanes) {
        bases_read_ = 0;
        std::pair<std::int64_t, std::int64_t> latest{-1, -1};  // reading and record
        const auto meet = [&](std::int64_t reading, std::int64_t record, const std::string& name) {
            if (latest == std::pair{reading, record}) {
                return;
            }
            latest = {reading, record};
            sums.open(work_.by_parts() ? work_.parts[static_cast<std::size_t>(reading)].of
                                       : EvaluatePart{reading, record, record, name});
        };
        Delivery delivery;
        while (feed.next(delivery)) {
            runtime_.throw_if_stopped();
            for (const io::RecordSummary& record : delivery.ended) {
                meet(delivery.reading, record.record, record.name);
                bases_read_ += record.length;
                if (!told_) {
                    tell_letters(record, runtime_.observer);
                }
            }
            if (delivery.piece) {
                meet(delivery.reading, delivery.piece->record, *delivery.piece->name);
                if (baseline_) {
                    baseline_->score(*delivery.piece, sums.latest());
                }
                lanes.add({sums.latest(), std::move(*delivery.piece)});
            } else if (!told_) {
                tell_skipped(
                    work_.inputs[work_.by_parts() ? 0 : static_cast<std::size_t>(delivery.reading)],
                    delivery.skipped, runtime_.observer);
            }
        }
    }

    const EvaluateOptions& options_;
    const Runtime& runtime_;
    Engine& engine_;
    const model::Model& model_;
    const io::Tokenizer& tokenizer_;
    EvaluateWork& work_;
    const EvaluateLines& lines_;
    std::int64_t grid_;  // of blocks
    std::optional<MarkovBaseline> baseline_;
    Progress progress_;
    std::int64_t bases_read_ = 0;  // by the latest pass
    bool told_ = false;            // what there is to say of the sequence
};

/// What a shard says of itself, and what its run is told by.
Json describe_shard(const EvaluateOptions& options,
                    const EvaluateLines& lines,
                    const EvaluateWork& work,
                    const std::string& model_hash,
                    const io::Tokenizer& tokenizer,
                    const std::string& baseline_digest,
                    const Runtime& runtime) {
    Json json = {
        {"shard", shard_json({*work.shard, work.cut, digest_of(work.rolls)}, runtime.precision)},
        {"model", model_hash},
        {"tokenizer", {{"name", tokenizer.name()}, {"hash", tokenizer.hash()}}},
        {"gap", options.reading.gap}};
    if (!options.reading.circular.empty()) {
        json["circular"] = options.reading.circular;
    }
    json.update(lines_json(lines));
    json["baseline_train"] = baseline_digest;
    json["version"] = runtime.version;
    if (!runtime.no_pg) {
        json["command"] = runtime.command_line;
    }
    return json;
}

}  // namespace

void EvaluateOptions::validate() const {
    std::vector<std::string> violations;
    if (model.empty()) {
        violations.emplace_back("no model directory");
    }
    reading.collect_violations(violations);
    if (output.empty()) {
        violations.emplace_back("no output file");
    }
    for (const int order : baseline) {
        if (order < 1 || order > kMaxMarkovOrder) {
            violations.push_back(
                concat("the order of the baseline is 1 to ", kMaxMarkovOrder, ", not ", order));
        }
    }
    if (baseline.empty() && !baseline_train.empty()) {
        violations.emplace_back("files to train a baseline on, but no order for it");
    }
    if (by == By::region && !reading.has_regions()) {
        violations.emplace_back("a line for each region, but no regions");
    }
    for (const std::int64_t context : contexts) {
        if (context < 0 || context > kMostContext) {
            violations.push_back(concat("a context is 1 to 2^40 bases, or whole, not ", context));
        }
    }
    if (!contexts.empty() && reading.context) {
        violations.emplace_back("one context and a list of contexts");
    }
    if (!contexts.empty() && by == By::position) {
        violations.emplace_back(
            "the distance from a reset differs from context to context: lines by position are of "
            "one");
    }
    const bool from_stdin = std::count(reading.inputs.begin(), reading.inputs.end(), "-") > 0;
    if (contexts.size() > 1 && from_stdin) {
        violations.emplace_back(
            "the sequence is read once for each context, which standard input cannot be");
    }
    const bool own = !baseline.empty() && baseline_train.empty();
    if (own && from_stdin) {
        violations.emplace_back(
            "a baseline needs files of its own to train on where standard input is evaluated");
    }
    throw_violations(violations);
}

EvaluateReport evaluate(const EvaluateOptions& options, const Runtime& runtime) {
    options.validate();
    Engine engine(runtime);
    const model::Model model =
        model::Model::load(options.model, host_allocator()).on_device(engine.queue());
    const io::Tokenizer& tokenizer =
        choose_tokenizer(model, options.model, options.reading.tokenizer);
    EvaluateLines lines{.contexts = choose_contexts(model, options, runtime.observer),
                        .compares = !options.contexts.empty(),
                        .by = options.by,
                        .regions = {},
                        .orders = options.baseline};
    EvaluateWork work = plan_evaluation(options, lines.contexts, runtime.observer);
    lines.regions = work.region_names;
    EvaluateReport report;
    if (options.dry_run) {
        report.plan = plan_text(engine, model, tokenizer, work, options.reading, lines.contexts);
        return report;
    }
    EvaluateRun run(options, runtime, engine, model, tokenizer, work, lines);
    if (work.shard) {
        EvaluateShardWriter shard(options.output, lines);
        run.run(shard);
        const std::string hash = model.on_host(engine.queue()).hash();
        shard.finish(
            describe_shard(options, lines, work, hash, tokenizer, run.baseline_digest(), runtime));
        report = report_of(shard.all(), lines);
    } else {
        EvaluateTable table(options.output, lines);
        run.run(table);
        table.finish();
        report = report_of(table, lines);
    }
    report.bases_read = run.bases_read();
    report.seconds = run.seconds();
    return report;
}

}  // namespace mambase::pipelines
