#include "pipelines/merge.hpp"

#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::MergeOptions;

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    app.add_option("shard", options->shards,
                   "What the runs with --shard 1/N to N/N wrote, in any order")
        ->type_name("FILE");
    add_text(app, "-o,--output", options->output, "FILE",
             "What the run without --shard would have written: of embed an array (FILE.npy, beside "
             "it FILE.rows.tsv and FILE.json), of evaluate a table, of score a track or table by "
             "the end of its name (.bw, .bedgraph.gz, .tsv and so on); - is standard output");
    declare_no_pg(app, common);
    declare_console(app, common);
    return [options](const pipelines::Runtime& runtime) {
        options->validate();
        const pipelines::MergeReport report = pipelines::merge(*options, runtime);
        if (report.evaluation) {
            tell(*report.evaluation, runtime);
        }
        if (report.embedding) {
            tell(*report.embedding, runtime);
        }
        if (report.scores) {
            tell(*report.scores, runtime);
        }
        return ExitCode::done;
    };
}

}  // namespace

Command merge_command() {
    return {
        .name = "merge",
        .group = "Using a model",
        .summary = "puts the outputs of embed, evaluate or score --shard together",
        .synopsis = "-o OUT shard [shard ...]",
        .notes =
            R"(  The same bytes as of one run without --shard. All shards of one run are needed, each once.

Examples:
  for i in 1 2 3; do mambase embed -m model --shard $i/3 -o part$i.npy genome.fa; done
  mambase merge -o genome.npy part1.npy part2.npy part3.npy
  mambase merge -o genome.bw part1.scores part2.scores part3.scores
)",
        .declare = declare};
}

}  // namespace mambase::cli
