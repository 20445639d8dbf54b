#include "pipelines/pretrain.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/pretrain_options.hpp"
#include "cli/process.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::PretrainOptions;

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::PretrainReport report = pipelines::pretrain(options, runtime);
    switch (report.end) {
        case pipelines::PretrainEnd::dry_run:
            write_stdout(report.plan);
            return ExitCode::done;
        case pipelines::PretrainEnd::time_up:
        case pipelines::PretrainEnd::signalled:
            runtime.observer.info(concat("stopped after step ", report.steps_done, " of ",
                                         report.steps, "; the same command goes on"));
            return ExitCode::stopped;
        case pipelines::PretrainEnd::finished:
            break;
    }
    std::string text = concat(options.output, ": ", format_count(report.parameters),
                              " parameters, ", format_count(report.steps), " steps, ",
                              format_bases(static_cast<double>(report.bases_done)), " read");
    if (report.valid_bits) {
        text += concat("; validation ", format_fixed(*report.valid_bits, 4), " bits a base (step ",
                       report.best_step, ")");
    } else if (report.train_bits) {
        text += concat("; training ", format_fixed(*report.train_bits, 4), " bits a base");
    }
    if (report.context) {
        const std::int64_t context = report.context->context;
        text += context == 0 ? std::string("; validated for any context")
                             : concat("; validated for a context of ",
                                      format_bases(static_cast<double>(context)));
    }
    runtime.observer.info(text);
    return ExitCode::done;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    declare_pretrain_data(app, *options);
    add_text(app, "-o,--output", options->output, "DIR",
             "Directory for the model, the state to resume from, metrics.jsonl and run.json");
    declare_pretrain_options(app, *options);
    declare_run(app, common);
    return [options](const pipelines::Runtime& runtime) { return run(*options, runtime); };
}

}  // namespace

Command pretrain_command() {
    return {
        .name = "pretrain",
        .group = "Training",
        .summary = "trains a causal language model of DNA on sequence files",
        .synopsis = "-o DIR [options] genome.fa [more.fa ...]",
        .notes =
            R"(  No option but -o is needed. The last 5 % of each contig over 1 Mb is kept for validation, and
  the best model by it is what is written. Weights depend on the input, the options and the seed
  alone: not on -@, --chunk, nor on where the run was stopped. SIGUSR1 (exit 85), SIGINT and SIGTERM
  (which then end the process) stop in order after the step, with the state saved.

Examples:
  mambase pretrain -o model genome.fa.gz
  mambase pretrain -o model --preset small --bases 2G --max-time 11h human.fa mouse.fa
)",
        .declare = declare};
}

}  // namespace mambase::cli
