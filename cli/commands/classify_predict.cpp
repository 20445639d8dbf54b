#include "pipelines/classify_predict.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::ClassifyPredictOptions;

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::ClassifyPredictReport report = pipelines::classify_predict(options, runtime);
    if (options.dry_run) {
        write_stdout(report.plan);
        return ExitCode::done;
    }
    std::string text = concat(format_count(report.classified), " of ",
                              format_count(report.sequences), " sequences classified");
    for (const auto& [label, count] : report.by_label) {
        text += concat(", ", label, " ", format_count(count));
    }
    runtime.observer.info(text);
    return ExitCode::done;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
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
    add_count(app, "--step", options->step,
              "Bases from window to window, at most. Default: a window");
    add_flag(app, "--paired", options->paired,
             "Inputs are pairs of files, whose records are mates and called as one");
    add_text(app, "--taxonomy", options->taxonomy, "FILE.tsv",
             "In place of the classifier's own; without any the root is taxid 1, labels 2 and up");
    add_flag(app, "--use-names", options->use_names,
             "Write \"name (taxid 2)\", not the taxid alone");
    add_text(app, "--classified-out", options->classified_out, "FILE",
             "FASTA of what was called; with --paired a # in the name becomes 1 and 2");
    add_text(app, "--unclassified-out", options->unclassified_out, "FILE", "The same of the rest");
    add_count(app, "--gap", options->reading.gap,
              "A run of at least INT bases other than A, C, G, T parts the windows");
    declare_chunk(app, options->reading.chunk, "Bases held at once; default: as suits the device");
    declare_dry_run(app, options->dry_run);
    declare_run(app, common);
    return [options](const pipelines::Runtime& runtime) { return run(*options, runtime); };
}

}  // namespace

Command classify_predict_command() {
    return {
        .name = "classify predict",
        .group = "Classification",
        .summary = "labels reads, contigs and whole files",
        .synopsis = "-m DIR [options] in.fa [more ...]",
        .notes =
            R"(  The calls are in kraken2's form, and so is the report. Scores of both strands and of all windows
  of a sequence are averaged: a read and its reverse complement get the same call. A sequence of
  something else is called as the label that it is likest: U says that the labels are too close to
  tell, not that it is none of them. Train a label of what else may come, where that matters.

Examples:
  mambase classify predict -m species -o calls.tsv --report report.txt reads.fq.gz
  mambase classify predict -m species --probs probs.tsv --confidence 0.9 contigs.fa
  mambase classify predict -m species --paired -o calls.tsv r1.fq.gz r2.fq.gz
)",
        .declare = declare};
}

}  // namespace mambase::cli
