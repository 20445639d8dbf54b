#include "pipelines/classify_train.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"
#include "cli/training_options.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::ClassifyTrainOptions;

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::ClassifyTrainReport report = pipelines::classify_train(options, runtime);
    if (options.dry_run) {
        write_stdout(report.plan);
        return ExitCode::done;
    }
    if (!report.finished) {
        runtime.observer.info(concat("stopped after step ", report.steps_done, " of ", report.steps,
                                     "; the same command goes on"));
        return ExitCode::stopped;
    }
    std::string text = concat(options.output, ": ", report.labels, " labels, ",
                              format_count(report.steps), " steps");
    if (report.valid.windows > 0) {
        text += concat("; ", format_count(report.valid.windows), " validation windows: accuracy ",
                       format_fixed(report.valid.accuracy, 4), " (step ", report.best_step,
                       "), temperature ", format_fixed(report.valid.temperature, 3),
                       ", calls from a probability of ", format_fixed(report.confidence, 4));
    }
    runtime.observer.info(text);
    return ExitCode::done;
}

void declare_recipe(CLI::App& app, Options& options) {
    add_count(app, "--context", options.context,
              "Bases a window, read from a fresh state. Default: the length that the model was "
              "validated for");
    add_count(app, "--gap", options.gap,
              "No window holds INT or more bases in a row that are not A, C, G, T");
    add_flag(app, "--freeze", options.freeze, "Train the head alone, on the model as it is");
    add_parsed(app, "--pool", "mean|last",
               "What the head sees of a window: the mean over its bases, or the last one [mean]",
               [&options](const std::string& text) {
                   MAMBASE_REQUIRE(text == "mean" || text == "last", ErrorCode::usage,
                                   concat("'", text, "' is not one of mean, last"));
                   options.pool =
                       text == "mean" ? decltype(options.pool)::mean : decltype(options.pool)::last;
               });
    declare_either_strand(app, options);
    add_count(app, "--steps", options.steps, "Steps of the optimiser");
    add_count(app, "--batch", options.batch, "Windows a step");
    add_number(app, "--lr", options.lr, "Peak learning rate. Default: 0.001, with --freeze 0.01");
    declare_update(app, options);
    add_seed(app, "--seed", options.seed, "Of the windows drawn");
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
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
    declare_recipe(app, *options);
    declare_chunk_and_validation(app, *options);
    add_count(app, "--valid-windows", options->valid_windows,
              "At most so many windows of a label to calibrate probabilities on");
    declare_stops(app, *options);
    declare_run(app, common);
    return [options](const pipelines::Runtime& runtime) { return run(*options, runtime); };
}

}  // namespace

Command classify_train_command() {
    return {
        .name = "classify train",
        .group = "Classification",
        .summary = "fits a head that tells species (or any labels) apart on a model",
        .synopsis = "-m MODEL -o DIR --samples FILE.tsv [options]",
        .notes =
            R"(  Windows are drawn by label, then contig, then position, each uniform; without --gap they hold A,
  C, G, T alone, so that neither case nor N tells anything. Without a split column each contig is
  divided 80/10/10 into blocks with a window left out between them. Weights depend on samples,
  model, options and seed alone. SIGUSR1 (exit 85), SIGINT and SIGTERM (which then end the process)
  stop in order, with the state saved.

Examples:
  mambase classify train -m model -o species --samples species.tsv --context 1000
  mambase classify train -m model -o species --samples species.tsv --context 1000 --freeze
)",
        .declare = declare};
}

}  // namespace mambase::cli
