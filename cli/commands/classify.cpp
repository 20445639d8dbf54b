#include "base/error.hpp"
#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "pipelines/classify_predict.hpp"
#include "pipelines/classify_train.hpp"

#include <memory>

namespace mambase::cli {

namespace {

constexpr std::string_view kGroup = "Classification";

using TrainOptions = pipelines::ClassifyTrainOptions;
using PredictOptions = pipelines::ClassifyPredictOptions;

ExitCode run_train(const TrainOptions& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::ClassifyTrainReport report = pipelines::classify_train(options, runtime);
    if (!report.finished) {
        runtime.observer.info(concat("stopped after step ", report.steps_done, " of ",
                                     report.steps, "; the same command goes on"));
        return ExitCode::stopped;
    }
    std::string text = concat(options.output, ": ", report.labels, " labels, ",
                              format_count(report.steps), " steps");
    if (report.valid_windows > 0) {
        text += concat("; ", format_count(report.valid_windows), " validation windows: accuracy ",
                       format_fixed(report.valid_accuracy, 4), " (step ", report.best_step,
                       "), temperature ", format_fixed(report.temperature, 3),
                       ", calls from a probability of ", format_fixed(report.confidence, 4));
    }
    runtime.observer.info(text);
    return ExitCode::done;
}

void declare_training(CLI::App& app, TrainOptions& options) {
    add_count(app, "--context", options.context,
              "Bases a window, read from a fresh state. Default: the length that the model was "
              "validated for");
    add_flag(app, "--freeze", options.freeze, "Train the head alone, on the model as it is");
    add_parsed(app, "--pool", "mean|last",
               "What the head sees of a window: the mean over its bases, or the last one [mean]",
               [&options](const std::string& text) {
                   MAMBASE_REQUIRE(text == "mean" || text == "last", ErrorCode::usage,
                                   concat("'", text, "' is not one of mean, last"));
                   options.pool = text == "mean" ? decltype(options.pool)::mean
                                                 : decltype(options.pool)::last;
               });
    add_flag(app, "--rc,!--no-rc", options.both_strands,
             "Each window on either strand, or on the forward one alone; default: either");
    add_count(app, "--steps", options.steps, "Steps of the optimiser");
    add_count(app, "--batch", options.batch, "Windows a step");
    add_number(app, "--lr", options.lr, "Peak learning rate. Default: 0.001, with --freeze 0.01");
    add_number(app, "--warmup", options.warmup, "Share of the steps in which the rate rises");
    add_number(app, "--weight-decay", options.weight_decay,
               "Decoupled, times the rate; not on A_log, D, biases and norms");
    add_number(app, "--clip", options.clip, "Largest norm of the gradient; 0: no limit");
    add_seed(app, "--seed", options.seed, "Of the windows drawn");
}

Runner declare_train(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<TrainOptions>();
    // Not from MAMBASE_MODEL_PATH: what a training run starts from is always said.
    add_text(app, "-m,--model", options->model, "DIR", "Model to start from");
    add_text(app, "-o,--output", options->output, "DIR",
             "Directory for the classifier, the state to resume from, metrics.jsonl and run.json");
    add_text(app, "--samples", options->samples, "FILE.tsv",
             "Columns path (FASTA), label, and optionally region (chr:first-last or a file .bed) "
             "and split (train, valid, test)");
    add_text(app, "--taxonomy", options->taxonomy, "FILE.tsv",
             "Columns taxid, parent, rank code, name, label (empty for inner nodes); goes into "
             "the classifier");
    add_flag(app, "--ignore-eof", options->ignore_eof, "Accept bgzip without its end marker");
    add_choice(app, "--tokenizer", options->tokenizer, {"dna", "bytes"},
               "For a model that does not name its own; default: by its vocabulary");
    declare_training(app, *options);
    declare_chunk(app, options->chunk, "Bases of a window held at once; default: whole windows");
    add_count(app, "--eval-every", options->eval_every,
              "Steps between validations; default: a twentieth of the run");
    add_count(app, "--valid-windows", options->valid_windows,
              "At most so many windows of a label to calibrate probabilities on");
    add_parsed(app, "--max-time", "TIME",
               "Stop after TIME (seconds, or with s, m, h, d), save, and exit 85: run again to go "
               "on",
               [options](const std::string& text) { options->max_time = parse_duration(text); });
    add_text(app, "--resume", options->resume, "auto|never|DIR",
             "Go on from the state in the output directory if there is one; never; or from DIR's");
    declare_run(app, common);
    return [options](const pipelines::Runtime& runtime) { return run_train(*options, runtime); };
}

ExitCode run_predict(const PredictOptions& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::ClassifyPredictReport report = pipelines::classify_predict(options, runtime);
    std::string text = concat(format_count(report.classified), " of ",
                              format_count(report.sequences), " sequences classified");
    for (const auto& [label, count] : report.by_label) {
        text += concat(", ", label, " ", format_count(count));
    }
    runtime.observer.info(text);
    return ExitCode::done;
}

Runner declare_predict(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<PredictOptions>();
    declare_model(app, options->model);
    declare_sequences(app, options->reading);
    add_text(app, "-o,--output", options->output, "FILE",
             "Calls, a line a sequence: C or U, name, taxid, length, calls of its windows");
    add_text(app, "--report", options->report, "FILE",
             "Clades: percent, sequences in it, at the node itself, rank, taxid, name");
    add_text(app, "--probs", options->probs, "FILE.tsv", "Probabilities of all labels");
    add_number(app, "--confidence", options->confidence,
               "Least probability of a call. Default: that with at most 5 % false calls in "
               "validation");
    add_count(app, "--window", options->window,
              "Bases read from a fresh state. Default: as trained");
    add_count(app, "--step", options->step, "Bases from window to window, at most. Default: a window");
    add_flag(app, "--paired", options->paired,
             "Inputs are pairs of files, whose records are mates and called as one");
    add_text(app, "--taxonomy", options->taxonomy, "FILE.tsv",
             "In place of the classifier's own; without any the root is taxid 1, labels 2 and up");
    add_flag(app, "--use-names", options->use_names, "Write \"name (taxid 2)\", not the taxid alone");
    add_text(app, "--classified-out", options->classified_out, "FILE",
             "FASTA of what was called; with --paired a # in the name becomes 1 and 2");
    add_text(app, "--unclassified-out", options->unclassified_out, "FILE", "The same of the rest");
    add_count(app, "--gap", options->reading.gap,
              "A run of at least INT bases other than A, C, G, T parts the windows");
    declare_chunk(app, options->reading.chunk, "Bases held at once; default: as suits the device");
    declare_run(app, common);
    return [options](const pipelines::Runtime& runtime) { return run_predict(*options, runtime); };
}

}  // namespace

Command classify_train_command() {
    return {
        .name = "classify train",
        .group = kGroup,
        .summary = "fits a head that tells species (or any labels) apart on a model",
        .synopsis = "-m MODEL -o DIR --samples FILE.tsv [options]",
        .notes =
            R"(  Windows are drawn by label, then contig, then position, each uniform; they hold A, C, G, T alone,
  so that neither case nor N tells anything. Without a split column each contig is divided 80/10/10
  into blocks with a window left out between them. Weights depend on samples, model, options and
  seed alone. SIGINT, SIGTERM and SIGUSR1 (exit 85) stop in order, with the state saved.

Examples:
  mambase classify train -m model -o species --samples species.tsv --context 1000
  mambase classify train -m model -o species --samples species.tsv --context 1000 --freeze
)",
        .declare = declare_train};
}

Command classify_predict_command() {
    return {
        .name = "classify predict",
        .group = kGroup,
        .summary = "labels reads, contigs and whole files",
        .synopsis = "-m DIR [options] in.fa [more ...]",
        .notes =
            R"(  The calls are in kraken2's form, and so is the report. Scores of both strands and of all windows
  of a sequence are averaged: a read and its reverse complement get the same call.

Examples:
  mambase classify predict -m species -o calls.tsv --report report.txt reads.fq.gz
  mambase classify predict -m species --probs probs.tsv --confidence 0.9 contigs.fa
  mambase classify predict -m species --paired -o calls.tsv r1.fq.gz r2.fq.gz
)",
        .declare = declare_predict};
}

}  // namespace mambase::cli
