#include "pipelines/tokenize.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::TokenizeOptions;

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::TokenizeReport report = pipelines::tokenize(options, runtime);
    runtime.observer.info(concat(format_count(report.bases), " bases of ",
                                 format_count(report.records),
                                 options.reading.has_regions() ? " regions" : " records"));
    if (!report.rows_table.empty()) {
        runtime.observer.info(concat(report.rows_table, ": which values are which bases"));
    }
    return ExitCode::done;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    add_text(app, "-o,--output", options->output, "FILE",
             "What to write: FILE.npy is an array of bytes, anything else text; - is standard "
             "output");
    add_flag(app, "--counts", options->counts,
             "How often each letter comes, by record and in all, instead of the ids");
    add_choice(app, "--tokenizer", options->tokenizer, {"dna", "bytes"}, "Which ids");
    declare_sequences(app, options->reading);
    declare_regions(app, options->reading);
    declare_threads(app, common);
    declare_console(app, common);
    return [options](const pipelines::Runtime& runtime) { return run(*options, runtime); };
}

}  // namespace

Command tokenize_command() {
    return {
        .name = "tokenize",
        .group = "Sequence",
        .summary = "shows or writes the tokens of sequence files",
        .synopsis = "[options] in.fa [more ...]",
        .notes =
            R"(  Text: a line ">name" for each record, then its ids. An array is [bases], unsigned bytes, with
  FILE.rows.tsv beside it: contig, start, end (0-based, half-open), strand, first row, rows. The
  counts are a table: name, letter (case apart), id, count; "all" is the sum. What is no nucleotide
  code is an error that names file, record and place.

Examples:
  mambase tokenize -r chr21:33,031,597-33,031,656 chr21.fa.gz
  mambase tokenize --counts reads.bam
  mambase tokenize -o reads.npy -@ 3 -T genome.fa reads.cram
)",
        .declare = declare};
}

}  // namespace mambase::cli
