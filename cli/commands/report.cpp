#include "pipelines/report.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"

#include <memory>

namespace mambase::cli {

namespace {

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<pipelines::ReportOptions>();
    app.add_option(
           "inputs", options->inputs,
           "Directories of runs, tables of evaluate and classify evaluate, arrays of embed; "
           "told by content")
        ->type_name("DIR|FILE");
    add_text(app, "-o,--output", options->output, "FILE",
             "HTML page to write; - is standard output");
    add_text(app, "--title", options->title, "TEXT", "Default: the name of the first input");
    add_flag(app, "--no-PG", common.no_pg, "No command line on the page");
    declare_console(app, common);
    return [options](const pipelines::Runtime& runtime) {
        options->validate();
        pipelines::report(*options, runtime);
        return ExitCode::done;
    };
}

}  // namespace

Command report_command() {
    return {
        .name = "report",
        .group = "Using a model",
        .summary = "writes one HTML page about a run and its results",
        .synopsis = "-o page.html DIR [table.tsv embedding.npy ...]",
        .notes =
            R"(  The page stands alone: charts are drawn in it, there is no script, and nothing is fetched. A
  section for each input, in order. Of a directory of pretrain or classify train: loss by bases
  read, and what the run was. Of a table of evaluate: bits a base by position and by context. Of a
  table of classify evaluate: accuracy, calibration error and the confusion matrix. Of an array of
  embed: principal components, coloured by the contigs of the table of rows beside it.

Examples:
  mambase report -o page.html model
  mambase report -o page.html model by_position.tsv contexts.tsv embedding.npy
)",
        .declare = declare};
}

}  // namespace mambase::cli
