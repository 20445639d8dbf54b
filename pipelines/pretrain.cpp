#include "pipelines/pretrain.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "genomics_io/sample_windows.hpp"
#include "genomics_io/token_store.hpp"
#include "kernels/ops/context.hpp"
#include "model/memory_plan.hpp"
#include "model/state_bank.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/metrics.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/recipe.hpp"
#include "pipelines/run_directory.hpp"
#include "pipelines/run_record.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/step_chunk.hpp"
#include "pipelines/train_state.hpp"
#include "pipelines/train_step.hpp"
#include "pipelines/training_data.hpp"
#include "pipelines/validated_context.hpp"
#include "pipelines/validation.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace mambase::pipelines {

namespace {

constexpr double kLongRun = 3600.0;       // seconds; longer ones say so first
constexpr std::int64_t kStepsToTime = 3;  // before a run's time is estimated

double mean(std::span<const double> values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// The last `count` values, or as many as there are.
std::span<const double> tail(const std::vector<double>& values, std::size_t count) {
    return std::span(values).last(std::min(count, values.size()));
}

io::TokenStore read_inputs(const PretrainOptions& options,
                           const io::Tokenizer& tokenizer,
                           const Runtime& runtime) {
    io::TokenStore store(tokenizer);
    for (const std::string& path : options.inputs) {
        runtime.observer.progress(concat("reading ", path));
        const io::Skipped skipped = store.add(path, {.threads = runtime.threads - 1,
                                                     .ignore_eof = options.ignore_eof,
                                                     .reference = options.reference});
        tell_skipped(path, skipped, runtime.observer);
        runtime.throw_if_stopped();
    }
    for (const io::StoredContig& contig : store.contigs()) {
        tell_letters(contig.summary, runtime.observer);
    }
    return store;
}

/// The regions that the user gives, with a warning of those that no window fits in.
GivenRegions given_regions(const PretrainOptions& options,
                           const io::TokenStore& store,
                           std::int64_t context,
                           const Observer& observer) {
    GivenRegions given{read_regions(store, options.train_bed, options.train_contigs),
                       read_regions(store, options.valid_bed, options.valid_contigs)};
    const auto warn = [&](std::string_view what, const std::vector<io::Region>& regions) {
        if (const std::int64_t count = count_short(regions, context); count > 0) {
            observer.warning(concat(format_count(count), " of ", regions.size(), " regions to ",
                                    what, " on are shorter than a window of ", context,
                                    " bases and the one after it, and are left out"));
        }
    };
    warn("train", given.train);
    warn("validate", given.valid);
    return given;
}

/// What a resumed run has to agree on of its data.
NamedValues data_values(const io::TokenStore& store,
                        const GivenRegions& given,
                        const std::string& digest) {
    return {{"input", digest},
            {"train", describe_regions(store, given.train)},
            {"valid", describe_regions(store, given.valid)}};
}

std::int64_t choose_chunk(const PretrainOptions& options,
                          const Recipe& recipe,
                          const model::ModelConfig& config,
                          Engine& engine) {
    const std::int64_t carried =
        recipe.carry > 0.0 ? model::StateLayout(config, recipe.batch).count() * size_of(DType::f32)
                           : 0;
    return choose_step_chunk(engine, config,
                             {.lanes = recipe.lanes,
                              .window = recipe.context,
                              .mode = model::RunMode::train,
                              .held = carried},
                             options.chunk);
}

class Training {
  public:
    Training(const PretrainOptions& options, const Runtime& runtime);

    /// Goes on from that state, if any.
    PretrainReport run(const std::optional<std::string>& resume_from);
    PretrainReport dry_run();

  private:
    model::MemoryPlan memory_plan() {
        return model::plan(engine_.context().table, model().config(), recipe_.lanes,
                           recipe_.context, chunk_, model::RunMode::train, recipe_.precision);
    }
    void reserve_step_memory();
    void describe() const;
    void open_output(const std::optional<std::string>& resume_from);
    std::optional<PretrainEnd> asked_to_stop(double last_step_seconds) const;
    double one_step();
    void evaluate();
    bool is_due(std::int64_t every) const {
        return done() % every == 0 || done() == recipe_.steps();
    }
    void save_state(const std::string& path);
    void save_step();
    void report_progress() const;
    model::Provenance provenance(std::int64_t steps) const;
    bool measure_context();
    PretrainEnd write_model();
    PretrainReport finish(PretrainEnd end);
    PretrainReport report(PretrainEnd end) const;

    model::Model& model() { return state_.model; }
    std::int64_t done() const { return state_.optimizer.steps(); }
    double seconds_left() const {
        return clock_.seconds() / static_cast<double>(losses_.size()) *
               static_cast<double>(recipe_.steps() - done());
    }
    double bases_per_second() const {
        return static_cast<double>(recipe_.bases_per_step()) * static_cast<double>(losses_.size()) /
               clock_.seconds();
    }

    const PretrainOptions& options_;
    const Runtime& runtime_;
    Engine engine_;
    Start start_;  // its model moves on to state_
    io::TokenStore store_;
    Recipe recipe_;
    std::int64_t chunk_;
    GivenRegions given_;
    DataSplit split_;
    std::vector<io::Region> valid_;  // what is evaluated of split_.valid
    io::SampleWindows windows_;
    std::string digest_;
    NamedValues values_;
    TrainState state_;
    TrainStep step_;
    std::optional<RunDirectory> directory_;
    std::optional<MetricsLog> metrics_;
    std::int64_t first_step_ = 0;
    std::optional<ValidatedContext> context_;  // measured once all steps are done
    std::string model_hash_;
    std::vector<double> losses_;  // of this call's steps, nats
    Stopwatch clock_;             // of this call's steps and evaluations
};

Training::Training(const PretrainOptions& options, const Runtime& runtime)
    : options_(options),
      runtime_(runtime),
      engine_(runtime),
      start_(make_start(options, runtime.device)),
      store_(read_inputs(options, *start_.tokenizer, runtime)),
      recipe_(make_recipe(options, start_, store_.total_bases(), engine_)),
      chunk_(choose_chunk(options, recipe_, start_.model.config(), engine_)),
      given_(given_regions(options, store_, recipe_.context, runtime.observer)),
      split_(split_data(store_, recipe_.context, given_)),
      valid_(thin_out(split_.valid, recipe_.valid_windows)),
      windows_(store_, split_.train, recipe_.context),
      digest_(data_digest(store_)),
      values_(named_values(recipe_, start_, data_values(store_, given_, digest_))),
      state_(
          std::move(start_.model).on_device(engine_.queue()), recipe_.optimizer, engine_.queue()),
      step_(recipe_, windows_, *start_.tokenizer, state_.model, chunk_, engine_) {
    if (recipe_.carry > 0.0) {
        state_.lanes.emplace(model().config(), recipe_.batch, recipe_.lanes, engine_.queue());
    }
}

PretrainReport Training::run(const std::optional<std::string>& resume_from) {
    open_output(resume_from);
    describe();
    reserve_step_memory();
    clock_ = Stopwatch();
    double last_step_seconds = 0.0;
    while (done() < recipe_.steps()) {
        if (const auto end = asked_to_stop(last_step_seconds)) {
            metrics_->flush();
            save_state(directory_->file(kStateName));
            return finish(*end);
        }
        last_step_seconds = one_step();
        if (is_due(recipe_.eval_every) && !valid_.empty()) {
            evaluate();
        }
        if (is_due(options_.save_every.value_or(recipe_.eval_every))) {
            save_step();
        }
        report_progress();
    }
    return finish(write_model());
}

/// What would run, with the time of a few steps whose updates are thrown away.
PretrainReport Training::dry_run() {
    describe();
    reserve_step_memory();
    clock_ = Stopwatch();
    for (std::int64_t i = 0; i < std::min(kStepsToTime, recipe_.steps()); ++i) {
        const std::int64_t step = done() + 1;
        losses_.push_back(step_.run(step, state_).nats);
    }
    const std::int64_t weights = model().params().count() * size_of(DType::f32);
    const model::MemoryPlan memory = memory_plan();
    PretrainReport out = report(PretrainEnd::dry_run);
    out.plan = concat(memory.text(), "sequence in memory: ", format_bytes(store_.total_bases()),
                      "\nwould write: ", format_bytes(5 * weights), " to ", options_.output,
                      "\nwould take: about ", format_duration(seconds_left()), " for ",
                      format_count(recipe_.steps()), " steps\n");
    return out;
}

/// In one block: step memory that grows on its way could ask for more than the plan that the chunk
/// was chosen by.
void Training::reserve_step_memory() {
    engine_.step().reserve(memory_plan().step_bytes);
}

void Training::describe() const {
    const Observer& observer = runtime_.observer;
    const model::ModelConfig& config = state_.model.config();
    observer.info(concat("input: ", format_bases(static_cast<double>(store_.total_bases())), " in ",
                         format_count(static_cast<std::int64_t>(store_.contigs().size())),
                         " contigs, ", format_count(windows_.eligible_starts()),
                         " windows to draw from"));
    observer.info(concat("model: ", config.n_layer, " blocks, ", config.d_model, " wide, ",
                         format_count(state_.model.params().count()), " parameters, tokenizer ",
                         start_.tokenizer->name()));
    observer.info(concat("run: ", format_count(recipe_.steps()), " steps of ", recipe_.batch,
                         " windows of ", format_count(recipe_.context), " bases"));
    if (valid_.empty()) {
        observer.warning(concat("fewer than ", kFewestValidationWindows,
                                " windows could be held out: no validation, the last model is "
                                "kept"));
    } else {
        observer.info(concat("validation: ", valid_.size(), " of ", split_.valid.size(),
                             " windows held out, every ", recipe_.eval_every, " steps"));
    }
}

void Training::open_output(const std::optional<std::string>& resume_from) {
    directory_.emplace(options_.output, options_.keep);
    std::string earlier;
    if (resume_from) {
        load_train_state(*resume_from, state_, values_, engine_.queue());
        first_step_ = done();
        const std::string log = metrics_beside(*resume_from);
        if (!log.empty()) {
            earlier = cut_metrics(read_text(log), first_step_, log);
        }
        runtime_.observer.info(concat("going on after step ", format_count(first_step_), " of ",
                                      format_count(recipe_.steps())));
    }
    // The state is written beside the one before it, and holds four times the weights; a step that
    // is kept holds a model as well.
    const std::int64_t kept = options_.keep > 0 ? options_.keep + 1 : 0;
    directory_->require_space((9 + 5 * kept) * model().params().count() * size_of(DType::f32));
    metrics_.emplace(directory_->file(kMetricsName), earlier, !runtime_.no_pg);
}

/// A run with a time limit takes at least one step, so that run after run comes to an end.
std::optional<PretrainEnd> Training::asked_to_stop(double last_step_seconds) const {
    if (runtime_.stop_requested()) {
        return PretrainEnd::signalled;
    }
    if (options_.max_time && !losses_.empty() &&
        clock_.seconds() + last_step_seconds > *options_.max_time) {
        return PretrainEnd::time_up;
    }
    return std::nullopt;
}

/// Returns its seconds.
double Training::one_step() {
    const Stopwatch watch;
    const std::int64_t step = done() + 1;
    const TrainStep::Result result = step_.run(step, state_);
    losses_.push_back(result.nats);
    const double seconds = watch.seconds();
    metrics_->add(StepMetrics{step, step * recipe_.bases_per_step(), result.nats, result.lr,
                              result.gradient_norm, seconds});
    return seconds;
}

void Training::evaluate() {
    const Stopwatch watch;
    const ValidationResult result =
        validate_model(engine_, model(), store_, valid_, engine_.beside_training(chunk_));
    metrics_->add(ValidMetrics{done(), result.nats, result.bases, watch.seconds()});
    const bool is_best = !state_.best || result.nats < state_.best->nats;
    if (is_best) {
        state_.best = BestModel{done(), result.nats, copy_weights(model(), engine_.queue())};
    }
    runtime_.observer.info(concat("step ", format_count(done()), ": ",
                                  format_fixed(bits(result.nats), 4), " bits a base on validation",
                                  is_best ? ", the best so far" : ""));
}

void Training::save_state(const std::string& path) {
    save_train_state(path, state_, values_, engine_.context());
}

void Training::save_step() {
    metrics_->flush();
    const auto current = [this] {
        model::Model copy = model().on_host(engine_.queue());
        copy.provenance() = provenance(done());
        return copy;
    };
    directory_->save_step(done(), current, [this](const std::string& path) { save_state(path); });
}

void Training::report_progress() const {
    const double left = seconds_left();
    if (static_cast<std::int64_t>(losses_.size()) == kStepsToTime && left > kLongRun) {
        runtime_.observer.info(concat("this run takes about ", format_duration(left)));
    }
    runtime_.observer.progress(concat("step ", done(), "/", recipe_.steps(), ", ",
                                      format_fixed(bits(mean(tail(losses_, 20))), 3),
                                      " bits a base, ", format_bases(bases_per_second()), "/s, ",
                                      format_duration(left), " left"));
}

/// Of the weights after `steps` steps.
model::Provenance Training::provenance(std::int64_t steps) const {
    model::Provenance out = state_.model.provenance().value_or(model::Provenance{});
    out.tokenizer = start_.tokenizer->name();
    out.tokenizer_hash = start_.tokenizer->hash();
    out.context = recipe_.context;
    out.training_data = digest_;
    out.steps = steps;
    out.seed = recipe_.seed;
    out.tool_version = runtime_.version;
    return out;
}

/// False where a stop was asked for.
bool Training::measure_context() {
    context_ = validate_context(engine_, model(), store_, split_.held_out, recipe_.context,
                                recipe_.steps() * recipe_.bases_per_step(),
                                engine_.beside_training(chunk_), runtime_);
    if (!context_) {
        return false;
    }
    for (const ContextTrial& trial : context_->trials) {
        runtime_.observer.info(concat(
            "context ", format_count(trial.context), ": ", format_fixed(bits(trial.nats), 4),
            " bits a base, ", trial.difference > 0.0 ? "+" : "",
            format_fixed(bits(trial.difference), 4), " (standard error ",
            format_fixed(bits(trial.standard_error), 4), ") beside context ",
            format_count(recipe_.context), " on the same ", format_count(trial.bases), " bases"));
    }
    const std::int64_t context = context_->context;
    runtime_.observer.info(
        concat("validated context: ",
               context == 0 ? std::string("unbounded") : concat(format_count(context), " bases")));
    return true;
}

/// Writes the model that is kept, unless a stop is asked for first.
PretrainEnd Training::write_model() {
    if (state_.best) {
        set_weights(model(), state_.best->weights, engine_.queue());
    }
    if (!measure_context()) {
        return PretrainEnd::signalled;
    }
    model::Model trained = model().on_host(engine_.queue());
    trained.provenance() = provenance(state_.best ? state_.best->step : done());
    trained.provenance()->context = context_->context;
    model::save_model(options_.output, trained);
    model_hash_ = trained.hash();
    return PretrainEnd::finished;
}

PretrainReport Training::finish(PretrainEnd end) {
    metrics_->flush();
    PretrainReport out = report(end);
    write_text(
        directory_->file(kRecordName),
        run_record(options_, values_, store_, split_, windows_.eligible_starts(), out, runtime_));
    return out;
}

PretrainReport Training::report(PretrainEnd end) const {
    PretrainReport out;
    out.end = end;
    out.steps = recipe_.steps();
    out.steps_done = done();
    out.first_step = first_step_;
    out.bases_done = done() * recipe_.bases_per_step();
    out.parameters = state_.model.params().count();
    out.seconds = clock_.seconds();
    if (!losses_.empty()) {
        out.train_bits = bits(mean(tail(losses_, losses_.size() / 10 + 1)));
        out.bases_per_second = bases_per_second();
    }
    if (state_.best) {
        out.valid_bits = bits(state_.best->nats);
        out.best_step = state_.best->step;
    }
    out.context = context_;
    out.model_hash = model_hash_;
    return out;
}

}  // namespace

PretrainReport pretrain(const PretrainOptions& options, const Runtime& runtime) {
    options.validate();
    const std::optional<std::string> resume_from = state_to_resume(options.output, options.resume);
    Training training(options, runtime);
    return options.dry_run ? training.dry_run() : training.run(resume_from);
}

}  // namespace mambase::pipelines
