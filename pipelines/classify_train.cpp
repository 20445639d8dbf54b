#include "pipelines/classify_train.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "model/classifier.hpp"
#include "model/memory_plan.hpp"
#include "pipelines/build_info.hpp"
#include "pipelines/calibration.hpp"
#include "pipelines/classify_calibrate.hpp"
#include "pipelines/classify_step.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/metrics.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/run_directory.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/samples.hpp"
#include "pipelines/step_chunk.hpp"
#include "pipelines/taxonomy.hpp"
#include "pipelines/train_state.hpp"
#include "pipelines/training_data.hpp"
#include "pipelines/window_scores.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kShortestWindow = 2;  // see SampleSet
constexpr std::int64_t kStepsToTime = 3;     // of a dry run

ClassifyRecipe make_recipe(const ClassifyTrainOptions& options,
                           std::int64_t window,
                           std::int64_t labels,
                           Engine& engine) {
    ClassifyRecipe recipe;
    recipe.window = window;
    recipe.batch = options.batch;
    recipe.lanes = std::clamp<std::int64_t>(engine.training_rows() / window, 1, options.batch);
    recipe.eval_every = options.eval_every.value_or(ceil_div(options.steps, 20));
    // Twenty validations take about a tenth of the time.
    recipe.eval_windows = std::max<std::int64_t>(
        std::min(options.valid_windows, checked_mul(options.steps, options.batch) / (64 * labels)),
        10);
    recipe.both_strands = options.both_strands;
    recipe.freeze = options.freeze;
    recipe.pool = options.pool;
    recipe.schedule.steps = options.steps;
    recipe.schedule.peak = options.lr.value_or(options.freeze ? 1e-2 : 1e-3);
    recipe.schedule.last = recipe.schedule.peak / 10.0;
    recipe.schedule.warmup = std::min(
        static_cast<std::int64_t>(std::ceil(options.warmup * static_cast<double>(options.steps))),
        options.steps);
    recipe.optimizer.weight_decay = options.weight_decay;
    recipe.optimizer.clip = options.clip;
    recipe.precision = engine.context().activations;
    recipe.seed = options.seed;
    return recipe;
}

/// What a resumed run has to agree on, under the names of the command line where it has one.
NamedValues named_values(const ClassifyRecipe& recipe,
                         std::int64_t gap,
                         const std::string& base_hash,
                         const std::string& samples) {
    return {{"base model", base_hash},
            {"samples", samples},
            {"context", concat(recipe.window)},
            {"gap", concat(gap)},
            {"batch", concat(recipe.batch)},
            {"steps", concat(recipe.schedule.steps)},
            {"freeze", recipe.freeze ? "on" : "off"},
            {"pool", std::string(name(recipe.pool))},
            {"rc", recipe.both_strands ? "on" : "off"},
            {"lr", concat(recipe.schedule.peak)},
            {"warm-up steps", concat(recipe.schedule.warmup)},
            {"weight-decay", concat(recipe.optimizer.weight_decay)},
            {"clip", concat(recipe.optimizer.clip)},
            {"precision", std::string(name(recipe.precision))},
            {"seed", concat(recipe.seed)},
            {"eval-every", concat(recipe.eval_every)},
            {"valid-windows", concat(recipe.eval_windows)}};
}

/// What training starts from: the model with a head of zeros (or its own, where it has one of as
/// many classes).
struct Start {
    model::Model model;
    std::string hash;  // of the model as it was
    const io::Tokenizer* tokenizer;
};

Start make_start(const ClassifyTrainOptions& options) {
    model::Model loaded = model::Model::load(options.model, host_allocator());
    const io::Tokenizer& tokenizer = choose_tokenizer(loaded, options.model, options.tokenizer);
    std::string hash = loaded.hash();
    return {std::move(loaded), std::move(hash), &tokenizer};
}

/// The model with a fresh head; what does not learn is frozen.
model::Model with_head(const model::Model& base, std::int64_t classes, bool freeze) {
    model::Model out = base.with_classes(0).with_classes(classes);
    model::ParamTable& params = out.params();
    for (std::size_t i = 0; i < params.size(); ++i) {
        const bool is_head = i == params.class_weight() || i == params.class_bias();
        const bool unused = i == params.head() && params.head() != params.embedding();
        params[i].frozen = !is_head && (freeze || unused);
    }
    return out;
}

std::int64_t window_of(const ClassifyTrainOptions& options, const model::Model& model) {
    const std::int64_t validated = model.context_or_default();
    const std::int64_t window =
        options.context.value_or(validated == kWholeContext ? model::kDefaultContext : validated);
    MAMBASE_REQUIRE(window >= kShortestWindow, ErrorCode::usage,
                    concat("a window has at least ", kShortestWindow, " bases"));
    return window;
}

class ClassifyTraining {
  public:
    ClassifyTraining(const ClassifyTrainOptions& options, const Runtime& runtime)
        : options_(options),
          runtime_(runtime),
          engine_(runtime),
          start_(make_start(options)),
          samples_(options.samples,
                   *start_.tokenizer,
                   window_of(options, start_.model),
                   options.gap,
                   options.ignore_eof,
                   {},
                   runtime),
          sampler_(samples_),
          recipe_(make_recipe(options, samples_.window(), classes(), engine_)),
          digest_(samples_.digest()),
          values_(named_values(recipe_, options.gap, start_.hash, digest_)),
          state_(with_head(start_.model, classes(), options.freeze).on_device(engine_.queue()),
                 recipe_.optimizer,
                 engine_.queue()),
          chunk_(choose_chunk()),
          step_(recipe_, sampler_, *start_.tokenizer, state_.model, chunk_, engine_),
          valid_(samples_.windows(Part::valid, options.valid_windows)),
          valid_on_the_way_(samples_.windows(Part::valid, recipe_.eval_windows)) {
        if (!options.taxonomy.empty()) {
            taxonomy_ = read_taxonomy(options.taxonomy);
            Taxonomy(taxonomy_, samples_.labels(), options.taxonomy);  // does it fit?
        }
    }

    ClassifyTrainReport run(const std::optional<std::string>& resume_from) {
        open_output(resume_from);
        describe();
        engine_.step().reserve(memory_plan().step_bytes);
        const Stopwatch clock;
        double last_step_seconds = 0.0;
        bool stepped = false;
        while (done() < recipe_.schedule.steps) {
            const bool time_up = options_.max_time && stepped &&
                                 clock.seconds() + last_step_seconds > *options_.max_time;
            if (runtime_.stop_requested() || time_up) {
                save();
                return finish(false);
            }
            last_step_seconds = one_step();
            stepped = true;
            if (done() % recipe_.eval_every == 0 || done() == recipe_.schedule.steps) {
                evaluate();
            }
        }
        write_model();
        return finish(true);
    }

    /// What would run, with the time of a few steps whose updates are thrown away.
    ClassifyTrainReport dry_run();

  private:
    std::int64_t classes() const { return static_cast<std::int64_t>(samples_.labels().size()); }
    std::int64_t done() const { return state_.optimizer.steps(); }
    model::RunMode mode() const {
        return recipe_.freeze ? model::RunMode::forward : model::RunMode::train;
    }

    std::int64_t choose_chunk();
    model::MemoryPlan memory_plan();
    void describe() const;
    void tell_test_contigs() const;
    void open_output(const std::optional<std::string>& resume_from);
    double one_step();
    void evaluate();
    void save();
    void write_model();
    ClassifyTrainReport finish(bool finished);

    const ClassifyTrainOptions& options_;
    const Runtime& runtime_;
    Engine engine_;
    Start start_;
    SampleSet samples_;
    LabelledSampler sampler_;
    ClassifyRecipe recipe_;
    std::string digest_;
    NamedValues values_;
    TrainState state_;
    std::int64_t chunk_;
    ClassifyStep step_;
    std::vector<LabelledWindow> valid_;
    std::vector<LabelledWindow> valid_on_the_way_;
    std::vector<model::Taxon> taxonomy_;
    std::optional<RunDirectory> directory_;
    std::optional<MetricsLog> metrics_;
    ClassifyTrainReport report_;
};

std::int64_t ClassifyTraining::choose_chunk() {
    return choose_step_chunk(engine_, state_.model.config(),
                             {.lanes = recipe_.lanes, .window = recipe_.window, .mode = mode()},
                             options_.chunk);
}

model::MemoryPlan ClassifyTraining::memory_plan() {
    model::MemoryPlan out =
        model::plan(engine_.context().table, state_.model.config(), recipe_.lanes, recipe_.window,
                    chunk_, mode(), recipe_.precision);
    if (recipe_.freeze) {  // a plan of forward passes has none
        const std::int64_t bytes =
            state_.model.params().count() * (size_of(DType::f64) + 2 * size_of(DType::f32));
        const auto smaller = std::find_if(
            out.items.begin(), out.items.end(),
            [bytes](const model::MemoryPlan::Item& item) { return item.bytes < bytes; });
        out.items.insert(smaller, {"gradients and moments of AdamW", bytes});
        out.total += bytes;
    }
    return out;
}

ClassifyTrainReport ClassifyTraining::dry_run() {
    describe();
    const model::MemoryPlan memory = memory_plan();
    engine_.step().reserve(memory.step_bytes);
    const std::int64_t steps = recipe_.schedule.steps;
    const std::int64_t timed = std::min(kStepsToTime, steps);
    const Stopwatch clock;
    for (std::int64_t i = 0; i < timed; ++i) {
        step_.run(done() + 1, state_.model, state_.optimizer);
    }
    const double a_step = clock.seconds() / static_cast<double>(timed);
    std::int64_t bases = 0;
    for (const io::TokenStore& store : samples_.stores()) {
        bases += store.total_bases();
    }
    const std::int64_t weights = state_.model.params().count() * size_of(DType::f32);
    report_.plan =
        concat(memory.text(), "sequence in memory: ", format_bytes(bases),
               "\nwould write: ", format_bytes(5 * weights), " to ", options_.output,
               "\nwould take: about ", format_duration(a_step * static_cast<double>(steps)),
               " for ", format_count(steps), " steps, without validations\n");
    return report_;
}

void ClassifyTraining::describe() const {
    const Observer& observer = runtime_.observer;
    observer.info(concat(samples_.labels().size(), " labels"));
    for (std::size_t label = 0; label < samples_.labels().size(); ++label) {
        const auto count = [&](const std::vector<LabelledWindow>& windows) {
            return std::count_if(windows.begin(), windows.end(), [&](const LabelledWindow& window) {
                return window.label == static_cast<std::int64_t>(label);
            });
        };
        const std::int64_t valid = count(valid_);
        observer.info(concat("label ", samples_.labels()[label], ": ",
                             format_count(sampler_.windows(static_cast<std::int64_t>(label))),
                             " windows to draw from, ", format_count(valid), " for validation"));
        if (valid == 0 && !valid_.empty()) {
            observer.warning(concat("no validation window of label ", samples_.labels()[label],
                                    ": contigs of under twenty windows are all for training, "
                                    "unless the table has a split column"));
        }
    }
    observer.info(concat("drawn are label, then contig, then position, each uniform; windows of ",
                         format_count(recipe_.window), " bases",
                         options_.gap == 1 ? ", A, C, G, T alone" : ""));
    observer.info(concat("run: ", format_count(recipe_.schedule.steps), " steps of ", recipe_.batch,
                         " windows, ", recipe_.freeze ? "the head alone" : "the whole model"));
    if (valid_.empty()) {
        observer.warning(
            "no window for validation (contigs of under twenty windows are all for training, "
            "unless "
            "the table has a split column): the last model is kept, its probabilities are not "
            "calibrated, and every sequence is called");
    }
    tell_test_contigs();
}

/// The base model names what it was trained on by one digest over all of it: a single file can be
/// told, a file among others cannot.
void ClassifyTraining::tell_test_contigs() const {
    const auto& origin = start_.model.provenance();
    const std::string data = origin ? origin->training_data : std::string();
    if (data.empty()) {
        return;
    }
    for (std::size_t store = 0; store < samples_.stores().size(); ++store) {
        const bool tests = std::any_of(
            samples_.regions().begin(), samples_.regions().end(),
            [&](const LabelledRegion& of) { return of.store == store && of.part == Part::test; });
        if (data_digest(samples_.stores()[store]) == data) {
            runtime_.observer.warning(concat(
                "the base model was trained on ", samples_.stores()[store].contigs().front().file,
                tests ? ", whose contigs are in the test part: what it reaches there says "
                        "too much"
                      : ", which is among the samples"));
            return;
        }
    }
    runtime_.observer.info(
        concat("the base model's training data (", data.substr(0, 16),
               ") is none of these files by itself; whether it holds their test contigs cannot be "
               "told"));
}

void ClassifyTraining::open_output(const std::optional<std::string>& resume_from) {
    directory_.emplace(options_.output, 0);
    std::string earlier;
    if (resume_from) {
        load_train_state(*resume_from, state_, values_, engine_.queue());
        const std::string log = metrics_beside(*resume_from);
        if (!log.empty()) {
            earlier = cut_metrics(read_text(log), done(), log);
        }
        runtime_.observer.info(concat("going on after step ", format_count(done()), " of ",
                                      format_count(recipe_.schedule.steps)));
    }
    // The state is written beside the one before it, and holds four times the weights.
    directory_->require_space(9 * state_.model.params().count() * size_of(DType::f32));
    metrics_.emplace(directory_->file(kMetricsName), earlier, !runtime_.no_pg);
}

/// Returns its seconds.
double ClassifyTraining::one_step() {
    const Stopwatch watch;
    const std::int64_t step = done() + 1;
    const ClassifyStep::Result result = step_.run(step, state_.model, state_.optimizer);
    const double seconds = watch.seconds();
    metrics_->add(StepMetrics{step, step * recipe_.batch * recipe_.window, result.nats, result.lr,
                              result.gradient_norm, seconds});
    const double rate = static_cast<double>(recipe_.batch * recipe_.window) / seconds;
    runtime_.observer.progress(concat(
        "step ", step, "/", recipe_.schedule.steps, ", loss ", format_fixed(result.nats, 3), ", ",
        format_bases(rate), "/s, ",
        format_duration(seconds * static_cast<double>(recipe_.schedule.steps - step)), " left"));
    return seconds;
}

/// Validates where there is something to validate on, and saves.
void ClassifyTraining::evaluate() {
    if (!valid_on_the_way_.empty()) {
        const Stopwatch watch;
        Runtime to_the_end = runtime_;  // a stop waits until the state is saved
        to_the_end.stop = nullptr;
        const ScoredSet set =
            score_windows(engine_, state_.model, samples_, valid_on_the_way_, recipe_.window,
                          recipe_.pool, engine_.beside_training(chunk_), to_the_end);
        const double nats = mean_nats(set, 1.0);
        const double right = accuracy(judge(set, 1.0));
        metrics_->add(ValidClassMetrics{done(), nats, right, set.size(), watch.seconds()});
        const bool is_best = !state_.best || nats < state_.best->nats;
        if (is_best) {
            state_.best = BestModel{done(), nats, copy_weights(state_.model, engine_.queue())};
        }
        runtime_.observer.info(concat("step ", format_count(done()), ": accuracy ",
                                      format_fixed(right, 4), ", loss ", format_fixed(nats, 4),
                                      " on ", format_count(set.size()), " validation windows",
                                      is_best ? ", the best so far" : ""));
    }
    save();
}

void ClassifyTraining::save() {
    metrics_->flush();
    save_train_state(directory_->file(kStateName), state_, values_, engine_.context());
}

void ClassifyTraining::write_model() {
    model::Model& model = state_.model;
    if (state_.best) {
        set_weights(model, state_.best->weights, engine_.queue());
    }
    model::Classifier classifier;
    classifier.labels = samples_.labels();
    classifier.pool = recipe_.pool;
    classifier.window = recipe_.window;
    classifier.gap = options_.gap;
    classifier.taxonomy = taxonomy_;
    classifier.base_model = start_.hash;
    classifier.frozen = recipe_.freeze;
    classifier.samples = digest_;
    if (valid_.empty()) {
        classifier.temperatures = {{recipe_.window, 1.0}};
    } else {
        runtime_.observer.info(
            concat("calibrating on ", format_count(std::ssize(valid_)), " validation windows"));
        const Calibration fitted = calibrate(engine_, model, samples_, valid_, recipe_.pool,
                                             engine_.beside_training(chunk_), runtime_);
        classifier.temperatures = fitted.temperatures;
        classifier.confidence = fitted.confidence;
        report_.valid = fitted.window;
        report_.confidence = fitted.confidence;
    }
    model::Provenance provenance = model.provenance().value_or(model::Provenance{});
    if (!model.provenance()) {
        provenance.context = model.context_or_default();
    }
    provenance.tokenizer = start_.tokenizer->name();
    provenance.tokenizer_hash = start_.tokenizer->hash();
    provenance.tool_version = runtime_.version;
    model.provenance() = provenance;
    const model::Model trained = model.on_host(engine_.queue());
    model::write_classifier(options_.output, classifier);
    model::save_model(options_.output, trained);
    report_.model_hash = trained.hash();
    report_.best_step = state_.best ? state_.best->step : done();
}

ClassifyTrainReport ClassifyTraining::finish(bool finished) {
    using Json = nlohmann::ordered_json;
    metrics_->flush();
    report_.finished = finished;
    report_.steps = recipe_.schedule.steps;
    report_.steps_done = done();
    report_.labels = classes();
    Json record = {{"format_version", 1}, {"version", runtime_.version}};
    if (!runtime_.no_pg) {
        record["command_line"] = runtime_.command_line;
        record["device"] = backend_name(runtime_.device);
    }
    record["samples"] = options_.samples;
    record["labels"] = samples_.labels();
    for (const auto& [key, value] : values_) {
        record["options"][key] = value;
    }
    record["outcome"] = {{"end", finished ? "finished" : "stopped"},
                         {"steps", report_.steps},
                         {"steps_done", report_.steps_done}};
    if (finished) {
        record["outcome"]["best_step"] = report_.best_step;
        record["outcome"]["valid_windows"] = report_.valid.windows;
        record["outcome"]["valid_accuracy"] = report_.valid.accuracy;
        record["outcome"]["valid_loss"] = report_.valid.nats;
        record["outcome"]["confidence"] = report_.confidence;
        record["outcome"]["model"] = report_.model_hash;
    }
    write_text(directory_->file(kRecordName),
               record.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    return report_;
}

}  // namespace

ClassifyTrainReport classify_train(const ClassifyTrainOptions& options, const Runtime& runtime) {
    options.validate();
    const std::optional<std::string> resume_from = state_to_resume(options.output, options.resume);
    ClassifyTraining training(options, runtime);
    return options.dry_run ? training.dry_run() : training.run(resume_from);
}

}  // namespace mambase::pipelines
