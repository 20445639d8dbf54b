#include "pipelines/pretrain.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/sample_windows.hpp"
#include "genomics_io/token_store.hpp"
#include "kernels/ops/context.hpp"
#include "model/memory_plan.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/metrics.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/recipe.hpp"
#include "pipelines/run_record.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/train_state.hpp"
#include "pipelines/train_step.hpp"
#include "pipelines/training_data.hpp"
#include "pipelines/validation.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace mambase::pipelines {

namespace {

constexpr std::string_view kStateName = "train_state.safetensors";
constexpr std::string_view kMetricsName = "metrics.jsonl";
constexpr double kLongRun = 3600.0;       // seconds; longer ones say so first
constexpr std::int64_t kStepsToTime = 3;  // before a run's time is estimated
constexpr std::int64_t kMostCount = std::int64_t{1} << 40;

class Stopwatch {
  public:
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }

  private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

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
        store.add(path, {.threads = runtime.threads - 1, .ignore_eof = options.ignore_eof});
        runtime.throw_if_stopped();
    }
    for (const io::StoredContig& contig : store.contigs()) {
        const io::RecordSummary& summary = contig.summary;
        if (summary.length == 0) {
            runtime.observer.warning(concat(contig.file, ": ", summary.name, " has no bases"));
        }
        if (summary.ambiguous > 0) {
            runtime.observer.info(concat(summary.name, ": ", format_count(summary.ambiguous),
                                         " ambiguous bases read as N"));
        }
    }
    return store;
}

/// The state to go on from, if any. Refuses an output directory that holds another run.
std::optional<std::string> state_to_resume(const PretrainOptions& options) {
    const std::string own = concat(options.output, "/", kStateName);
    const bool has_model = exists(concat(options.output, "/model.safetensors"));
    if (options.resume == "auto" && exists(own)) {
        return own;
    }
    const bool elsewhere = options.resume != "auto" && options.resume != "never";
    if (elsewhere && options.resume == options.output) {
        return own;  // an error where it is missing
    }
    if (exists(own) || has_model) {
        throw Error(ErrorCode::usage,
                    "there is a model or a training run already that this run does not go on "
                    "from; give another output directory")
            .at(options.output);
    }
    return elsewhere ? std::optional(concat(options.resume, "/", kStateName)) : std::nullopt;
}

/// Positions of a window at once: what is asked for, else as many as fit beside what else the run
/// holds. Error{out_of_memory} where that does not fit.
std::int64_t choose_chunk(const PretrainOptions& options,
                          const Recipe& recipe,
                          const model::ModelConfig& config,
                          Engine& engine) {
    const ops::OpTable& table = engine.context().table;
    const std::int64_t free = engine.queue().free_bytes() / 10 * 9;
    const std::int64_t fits = model::largest_chunk(table, config, recipe.lanes, recipe.context,
                                                   free, model::RunMode::train, recipe.precision);
    const std::int64_t chunk =
        std::min(options.chunk > 0 ? engine.chunk(options.chunk) : std::max<std::int64_t>(fits, 1),
                 recipe.context);
    const model::MemoryPlan plan = model::plan(table, config, recipe.lanes, recipe.context, chunk,
                                               model::RunMode::train, recipe.precision);
    MAMBASE_REQUIRE(plan.total <= free, ErrorCode::out_of_memory,
                    concat("a step in chunks of ", chunk, " bases takes ", format_bytes(plan.total),
                           " (", format_bytes(plan.items.front().bytes), " of it for ",
                           plan.items.front().what, "), free are ", format_bytes(free),
                           fits > 0 ? concat("; the longest chunk that fits is ", fits)
                                    : std::string("; not even the shortest chunk fits")));
    return chunk;
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
    void save();
    void report_progress() const;
    void write_model();
    PretrainReport finish(PretrainEnd end);
    PretrainReport report(PretrainEnd end) const;

    model::Model& model() { return state_.model; }
    std::int64_t done() const { return state_.optimizer.steps(); }
    std::string path(std::string_view name) const { return concat(options_.output, "/", name); }
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
    DataSplit split_;
    std::vector<io::Region> valid_;  // what is evaluated of split_.valid
    io::SampleWindows windows_;
    std::string digest_;
    NamedValues values_;
    TrainState state_;
    TrainStep step_;
    std::optional<MetricsLog> metrics_;
    std::int64_t first_step_ = 0;
    std::string model_hash_;
    std::vector<double> losses_;  // of this call's steps, nats
    Stopwatch clock_;             // of this call's steps and evaluations
};

Training::Training(const PretrainOptions& options, const Runtime& runtime)
    : options_(options),
      runtime_(runtime),
      engine_(runtime),
      start_(make_start(options)),
      store_(read_inputs(options, *start_.tokenizer, runtime)),
      recipe_(make_recipe(options, start_, store_.total_bases(), engine_)),
      chunk_(choose_chunk(options, recipe_, start_.model.config(), engine_)),
      split_(split_data(store_, recipe_.context)),
      valid_(thin_out(split_.valid, recipe_.valid_windows)),
      windows_(store_, split_.train, recipe_.context),
      digest_(data_digest(store_)),
      values_(named_values(recipe_, start_, digest_)),
      state_(
          std::move(start_.model).on_device(engine_.queue()), recipe_.optimizer, engine_.queue()),
      step_(recipe_, windows_, *start_.tokenizer, state_.model, chunk_, engine_) {}

PretrainReport Training::run(const std::optional<std::string>& resume_from) {
    open_output(resume_from);
    describe();
    reserve_step_memory();
    clock_ = Stopwatch();
    double last_step_seconds = 0.0;
    while (done() < recipe_.steps()) {
        if (const auto end = asked_to_stop(last_step_seconds)) {
            save();
            return finish(*end);
        }
        last_step_seconds = one_step();
        if (done() % recipe_.eval_every == 0 || done() == recipe_.steps()) {
            evaluate();
        }
        report_progress();
    }
    write_model();
    return finish(PretrainEnd::finished);
}

/// What would run, with the time of a few steps whose updates are thrown away.
PretrainReport Training::dry_run() {
    describe();
    reserve_step_memory();
    clock_ = Stopwatch();
    for (std::int64_t i = 0; i < std::min(kStepsToTime, recipe_.steps()); ++i) {
        const std::int64_t step = done() + 1;
        losses_.push_back(step_.run(step, model(), state_.optimizer).nats);
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
    make_directories(options_.output);
    std::string earlier;
    if (resume_from) {
        load_train_state(*resume_from, state_, values_, engine_.queue());
        first_step_ = done();
        const std::string log = concat(parent_directory(*resume_from), "/", kMetricsName);
        if (exists(log)) {
            earlier = cut_metrics(read_text(log), first_step_, log);
        }
        runtime_.observer.info(concat("going on after step ", format_count(first_step_), " of ",
                                      format_count(recipe_.steps())));
    }
    // The state is written beside the one before it, and holds four times the weights.
    const std::int64_t needed = 9 * model().params().count() * size_of(DType::f32);
    if (free_space(options_.output) < needed) {
        throw Error(ErrorCode::io, concat("the run needs ", format_bytes(needed), ", free are ",
                                          format_bytes(free_space(options_.output))))
            .at(options_.output);
    }
    metrics_.emplace(path(kMetricsName), earlier, !runtime_.no_pg);
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
    const TrainStep::Result result = step_.run(step, model(), state_.optimizer);
    losses_.push_back(result.nats);
    const double seconds = watch.seconds();
    metrics_->add(StepMetrics{step, step * recipe_.bases_per_step(), result.nats, result.lr,
                              result.gradient_norm, seconds});
    return seconds;
}

/// Validates where there is something to validate on, and saves.
void Training::evaluate() {
    if (!valid_.empty()) {
        const Stopwatch watch;
        const ValidationResult result =
            validate_model(engine_, model(), store_, valid_, engine_.chunk(chunk_));
        metrics_->add(ValidMetrics{done(), result.nats, result.bases, watch.seconds()});
        const bool is_best = !state_.best || result.nats < state_.best->nats;
        if (is_best) {
            state_.best = BestModel{done(), result.nats, copy_weights(model(), engine_.queue())};
        }
        runtime_.observer.info(
            concat("step ", format_count(done()), ": ", format_fixed(bits(result.nats), 4),
                   " bits a base on validation", is_best ? ", the best so far" : ""));
    }
    save();
}

void Training::save() {
    metrics_->flush();
    save_train_state(path(kStateName), state_, values_, engine_.context());
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

void Training::write_model() {
    model::Provenance provenance = model().provenance().value_or(model::Provenance{});
    provenance.tokenizer = start_.tokenizer->name();
    provenance.tokenizer_hash = start_.tokenizer->hash();
    provenance.context = recipe_.context;
    provenance.training_data = digest_;
    provenance.steps = state_.best ? state_.best->step : done();
    provenance.seed = recipe_.seed;
    provenance.tool_version = runtime_.version;
    model().provenance() = provenance;
    if (state_.best) {
        set_weights(model(), state_.best->weights, engine_.queue());
    }
    const model::Model trained = model().on_host(engine_.queue());
    model::save_model(options_.output, trained);
    model_hash_ = trained.hash();
}

PretrainReport Training::finish(PretrainEnd end) {
    metrics_->flush();
    PretrainReport out = report(end);
    write_text(path("run.json"), run_record(options_, values_, store_, split_,
                                            windows_.eligible_starts(), out, runtime_));
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
    out.model_hash = model_hash_;
    return out;
}

void collect_shape_violations(const PretrainOptions& options, std::vector<std::string>& out) {
    const int sources = (options.preset.empty() ? 0 : 1) + (options.config.empty() ? 0 : 1) +
                        (options.model.empty() ? 0 : 1);
    if (sources > 1) {
        out.emplace_back("a preset, a config and a model exclude each other");
    }
    const std::pair<const char*, std::optional<std::int64_t>> sizes[] = {
        {"d-model", options.d_model}, {"layers", options.layers}, {"d-state", options.d_state},
        {"expand", options.expand},   {"d-conv", options.d_conv}, {"dt-rank", options.dt_rank},
    };
    for (const auto& [name, size] : sizes) {
        if (size && *size < 1) {
            out.emplace_back(concat(name, " is at least 1, not ", *size));
        }
        if (size && !options.model.empty()) {
            out.emplace_back(concat(name, " is what the model says"));
        }
    }
}

void collect_count_violations(const PretrainOptions& options, std::vector<std::string>& out) {
    const std::pair<const char*, std::optional<std::int64_t>> counts[] = {
        {"context", options.context}, {"batch", options.batch},           {"steps", options.steps},
        {"bases", options.bases},     {"eval-every", options.eval_every},
    };
    for (const auto& [name, count] : counts) {
        if (count && (*count < 1 || *count > kMostCount)) {
            out.emplace_back(concat(name, " is from 1 to 2^40, not ", *count));
        }
    }
    if (options.steps && options.bases) {
        out.emplace_back("steps and bases exclude each other");
    }
    if (options.chunk < 0) {
        out.emplace_back(concat("chunk is at least 1, not ", options.chunk));
    }
    if (options.max_time && !(*options.max_time > 0.0)) {
        out.emplace_back(concat("max-time is above 0, not ", *options.max_time));
    }
}

void collect_rate_violations(const PretrainOptions& options, std::vector<std::string>& out) {
    const auto require_within = [&out](const char* name, double value, double low, double high) {
        if (!(value >= low && value <= high)) {
            out.emplace_back(concat(name, " is from ", low, " to ", high, ", not ", value));
        }
    };
    if (options.lr && !(*options.lr > 0.0 && *options.lr <= 1.0)) {
        out.emplace_back(concat("lr is above 0, at most 1, not ", *options.lr));
    }
    if (options.min_lr) {
        require_within("min-lr", *options.min_lr, 0.0, options.lr.value_or(1.0));
    }
    require_within("mask-weight", options.mask_weight, 0.0, 1.0);
    if (!(options.warmup >= 0.0 && options.warmup < 1.0)) {
        out.emplace_back(
            concat("warmup is a share of the steps from 0 to below 1, not ", options.warmup));
    }
}

}  // namespace

void PretrainOptions::validate() const {
    std::vector<std::string> violations;
    if (inputs.empty()) {
        violations.emplace_back("no input file");
    }
    if (std::count(inputs.begin(), inputs.end(), "-") > 1) {
        violations.emplace_back("standard input can be read once");
    }
    if (output.empty() || output == "-") {
        violations.emplace_back("the output is a directory; name it");
    }
    if (resume.empty()) {
        violations.emplace_back("resume is auto, never or a directory");
    }
    collect_shape_violations(*this, violations);
    collect_count_violations(*this, violations);
    collect_rate_violations(*this, violations);
    try {
        model::AdamWOptions{
            .beta1 = beta1, .beta2 = beta2, .weight_decay = weight_decay, .clip = clip}
            .validate();
    } catch (const Error& error) {
        violations.push_back(error.message());
    }
    throw_violations(violations);
}

PretrainReport pretrain(const PretrainOptions& options, const Runtime& runtime) {
    options.validate();
    const std::optional<std::string> resume_from = state_to_resume(options);
    Training training(options, runtime);
    return options.dry_run ? training.dry_run() : training.run(resume_from);
}

}  // namespace mambase::pipelines
