#include "pipelines/pretrain.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::PretrainOptions;

void declare_model_shape(CLI::App& app, Options& options) {
    add_text(app, "--preset", options.preset, "NAME",
             "Model and recipe: tiny (64 wide, 4 blocks), small (256, 8), base (256, 16), paper-*. "
             "Default on the CPU: tiny");
    add_text(app, "--config", options.config, "FILE", "Fresh model of this config.json");
    // Not from MAMBASE_MODEL_PATH: what a training run starts from is always said.
    add_text(app, "-m,--model", options.model, "DIR", "Start from the weights of this model");
    add_count(app, "--d-model", options.d_model, "Width; default: the preset's");
    add_count(app, "--layers", options.layers, "Blocks; default: the preset's");
    add_count(app, "--d-state", options.d_state, "States a channel; default: the preset's");
    add_count(app, "--expand", options.expand, "Inner width over width; default: the preset's");
    add_count(app, "--d-conv", options.d_conv, "Taps of the convolution; default: the preset's");
    add_count(app, "--dt-rank", options.dt_rank, "Rank of the step; default: width / 16");
    add_choice(app, "--tokenizer", options.tokenizer, {"dna", "bytes"},
               "Default: the model's, or dna");
}

void declare_optimisation(CLI::App& app, Options& options) {
    add_count(app, "--context", options.context,
              "Bases a window; each is read from a fresh state. Default: the preset's");
    add_flag(app, "--rc,!--no-rc", options.both_strands,
             "Each window on either strand, or on the forward one alone; default: either");
    add_number(app, "--mask-weight", options.mask_weight,
               "Loss weight of lower-case (soft-masked) bases, 0 to 1");
    add_count(app, "--steps", options.steps, "Steps of the optimiser; or");
    add_count(app, "--bases", options.bases,
              "bases to train on in all. Default: 20 times the input, at most the preset's limit "
              "(tiny: 100 M)");
    add_count(app, "--batch", options.batch,
              "Windows a step. Default: the preset's bases a step over the context");
    add_number(app, "--lr", options.lr, "Peak learning rate. Default: the preset's");
    add_number(app, "--min-lr", options.min_lr, "Rate at the end. Default: a tenth of the peak");
    add_number(app, "--warmup", options.warmup, "Share of the steps in which the rate rises");
    add_number(app, "--weight-decay", options.weight_decay,
               "Decoupled, times the rate; not on A_log, D, biases and norms");
    add_number(app, "--clip", options.clip, "Largest norm of the gradient; 0: no limit");
    add_number(app, "--beta1", options.beta1, "AdamW's memory of the gradient");
    add_number(app, "--beta2", options.beta2, "AdamW's memory of its square");
    add_seed(app, "--seed", options.seed, "Of initial weights and of the windows drawn");
}

void declare_course(CLI::App& app, Options& options) {
    declare_chunk(app, options.chunk, "Bases of a window held at once; default: whole windows");
    add_count(app, "--eval-every", options.eval_every,
              "Steps between validations; default: a twentieth of the run");
    add_count(app, "--save-every", options.save_every,
              "Steps between saves of the state; default: at each validation");
    add_count(app, "--keep", options.keep,
              "Keep the last INT saved steps, each as a directory step-N with its model and state");
    add_parsed(app, "--max-time", "TIME",
               "Stop after TIME (seconds, or with s, m, h, d), save, and exit 85: run again to go "
               "on",
               [&options](const std::string& text) { options.max_time = parse_duration(text); });
    add_text(app, "--resume", options.resume, "auto|never|DIR",
             "Go on from the state in the output directory if there is one; never; or from DIR's");
    declare_dry_run(app, options.dry_run);
}

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
    runtime.observer.info(text);
    return ExitCode::done;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    declare_inputs(app, options->inputs, options->ignore_eof,
                   "FASTA, plain, gzip or bgzip, told by content; - is standard input");
    add_text(app, "-o,--output", options->output, "DIR",
             "Directory for the model, the state to resume from, metrics.jsonl and run.json");
    declare_model_shape(app, *options);
    declare_optimisation(app, *options);
    declare_course(app, *options);
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
  alone: not on -@, --chunk, nor on where the run was stopped. SIGINT, SIGTERM and SIGUSR1 (exit 85)
  stop in order after the step, with the state saved.

Examples:
  mambase pretrain -o model genome.fa.gz
  mambase pretrain -o model --preset small --bases 2G --max-time 11h human.fa mouse.fa
)",
        .declare = declare};
}

}  // namespace mambase::cli
