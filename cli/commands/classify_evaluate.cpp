#include "pipelines/classify_evaluate.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::ClassifyEvaluateOptions;

std::string with_interval(double value, const pipelines::Interval95& interval) {
    return concat(format_fixed(value, 4), " (", format_fixed(interval.low, 4), " to ",
                  format_fixed(interval.high, 4), ")");
}

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::ClassifyEvaluateReport report = pipelines::classify_evaluate(options, runtime);
    if (options.dry_run) {
        write_stdout(report.plan);
        return ExitCode::done;
    }
    for (const pipelines::ClassifierResult& result : report.results) {
        runtime.observer.info(
            concat(result.name, ": accuracy ", with_interval(result.accuracy, result.intervals.all),
                   ", mean over labels ", format_fixed(result.balanced, 4), ", calibration error ",
                   format_fixed(result.calibration_error, 4), ", ", format_count(result.windows),
                   " windows"));
    }
    if (report.results.size() > 1) {
        runtime.observer.info(
            concat("model less k-mers: ",
                   with_interval(report.difference, report.results[0].intervals.difference)));
    }
    runtime.observer.info(concat("chance: ", format_fixed(report.chance, 4)));
    return ExitCode::done;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    declare_model(app, options->model);
    add_text(app, "--samples", options->samples, "FILE.tsv",
             "The table that the classifier was trained with; its test part is scored");
    add_text(app, "-o,--output", options->output, "FILE", "Table to write; - is standard output");
    add_text(app, "--reliability", options->reliability, "FILE",
             "Table of calls by their probability: how many, and what share of them is right");
    add_count(app, "--windows", options->windows,
              "At most so many test windows of a label, evenly spaced");
    add_count(app, "--kmer-baseline", options->kmer,
              "Also score logistic regression on counts of canonical k-mers (1 to 8), fitted on "
              "windows of the train part");
    add_count(app, "--kmer-windows", options->kmer_windows,
              "At most so many windows of a label to fit it on");
    add_count(app, "--resamples", options->resamples, "Of the bootstrap");
    add_seed(app, "--seed", options->seed, "Of the bootstrap");
    add_flag(app, "--ignore-eof", options->ignore_eof, "Accept bgzip without its end marker");
    add_choice(app, "--tokenizer", options->tokenizer, {"dna", "bytes"},
               "For a model that does not name its own; default: by its vocabulary");
    declare_chunk(app, options->chunk, "Bases held at once; default: as suits the device");
    declare_dry_run(app, options->dry_run);
    declare_run(app, common);
    return [options](const pipelines::Runtime& runtime) { return run(*options, runtime); };
}

}  // namespace

Command classify_evaluate_command() {
    return {
        .name = "classify evaluate",
        .group = "Classification",
        .summary = "accuracy, confusion and calibration of a classifier, beside k-mers",
        .synopsis = "-m DIR --samples FILE.tsv [options]",
        .notes =
            R"(  The table: classifier, label, windows, accuracy, nats, calibration error, how many windows reach
  the confidence and how many of those are wrong, then how many were called what: the confusion
  matrix. Intervals are 95 %, by bootstrap over blocks of ten neighbouring windows. mambase report
  draws the table, and the one of --reliability as a diagram.

Examples:
  mambase classify evaluate -m species --samples species.tsv --kmer-baseline 6 -o species.eval.tsv
)",
        .declare = declare};
}

}  // namespace mambase::cli
