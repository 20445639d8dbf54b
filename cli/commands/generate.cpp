#include "pipelines/generate.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::GenerateOptions;

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::GenerateReport report = pipelines::generate(options, runtime);
    if (options.dry_run) {
        write_stdout(report.plan);
        return ExitCode::done;
    }
    const auto bases = static_cast<double>(report.bases);
    runtime.observer.info(concat(format_count(report.sequences), " sequences, ",
                                 format_count(report.bases), " bases, ",
                                 format_bases(bases / report.seconds), "/s"));
    return ExitCode::done;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    declare_model(app, options->model);
    add_text(app, "-o,--output", options->output, "FILE",
             "FASTA to write, bgzip where it ends in .gz or .bgz; - is standard output");
    add_count(app, "-n,--count", options->count, "Sequences; with --prompt-file, of each prompt");
    add_count(app, "--length", options->length,
              "Bases drawn for each sequence; the prompt is not counted, nor written again");
    add_text(app, "--prompt", options->prompt, "BASES",
             "What every sequence goes on from. Default: nothing, and the first base is uniform");
    add_text(app, "--prompt-file", options->prompt_file, "FILE",
             "Each record is a prompt: FASTA, FASTQ, SAM, BAM or CRAM; - is standard input");
    add_number(app, "--temperature", options->sampling.temperature,
               "Below 1: likelier bases more often than the model says; above 1: less often");
    add_count(app, "--top-k", options->sampling.top_k, "Draw among the K likeliest bases alone");
    add_seed(app, "--seed", options->seed, "Of the draws");
    add_choice(app, "--tokenizer", options->tokenizer, {"dna", "bytes"},
               "For a model that does not name its own");
    declare_dry_run(app, options->dry_run);
    declare_run(app, common);
    return [options](const pipelines::Runtime& runtime) { return run(*options, runtime); };
}

}  // namespace

Command generate_command() {
    return {
        .name = "generate",
        .group = "Using a model",
        .summary = "samples sequence from a model, from a prompt or from nothing",
        .synopsis = "-m DIR [options]",
        .notes =
            R"(  FASTA of A, C, G, T. Sequences are named sequence_1, sequence_2, ...; those of a prompt file by
  their record: NAME_1, NAME_2, ... What is drawn for a sequence follows from --seed and its name:
  it is the same whatever -n, -@ and the other records of the file. Prompts are read whole.

Examples:
  mambase generate -m model -n 10 --length 1000 -o random.fa
  mambase generate -m model --prompt TATAAA --temperature 0.8 --length 200
  mambase generate -m model --prompt-file promoters.fa -n 5 --seed 2 -o more.fa.gz
)",
        .declare = declare};
}

}  // namespace mambase::cli
