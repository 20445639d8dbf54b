#include "pipelines/embed.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <memory>

namespace mambase::cli {

namespace {

using Options = pipelines::EmbedOptions;

struct Words {
    std::string strand = "concat";
    std::string dtype = "f16";
};

void apply(const Words& words, Options& options) {
    using pipelines::StrandChoice;
    for (const StrandChoice strand :
         {StrandChoice::concat, StrandChoice::forward, StrandChoice::reverse, StrandChoice::mean}) {
        if (name(strand) == words.strand) {
            options.strand = strand;
        }
    }
    options.dtype =
        words.dtype == "f32" ? decltype(options.dtype)::f32 : decltype(options.dtype)::f16;
}

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::EmbedReport report = pipelines::embed(options, runtime);
    if (options.dry_run) {
        write_stdout(report.plan);
        return ExitCode::done;
    }
    runtime.observer.info(concat(report.array, ": ", format_count(report.rows), " rows of ",
                                 report.dim, " numbers, ", format_bytes(report.bytes)));
    runtime.observer.info(concat(report.rows_table, ": which rows are which bases; ",
                                 report.description, ": what the numbers are"));
    return ExitCode::done;
}

void declare_rows(CLI::App& app, Options& options, Words& words) {
    add_parsed(app, "--layer", "last|K",
               "last: after the final norm; K: after block K; 0: the token embedding [last]",
               [&options](const std::string& text) {
                   if (text != "last") {
                       options.layer = parse_size(text, SizeUnits::decimal);
                   }
               });
    add_choice(app, "--strand", words.strand, {"concat", "forward", "reverse", "mean"},
               "Numbers of a base: read left to right, as the reverse complement, both beside each "
               "other, or their mean");
    add_parsed(app, "--pool", "none|bin:N",
               "A row for each base, or the mean over each N bases, counted from the record's "
               "start [none]",
               [&options](const std::string& text) {
                   if (text == "none") {
                       return;
                   }
                   MAMBASE_REQUIRE(text.starts_with("bin:"), ErrorCode::usage,
                                   concat("'", text, "' is not one of none, bin:N"));
                   options.bin = parse_size(text.substr(4), SizeUnits::decimal);
                   MAMBASE_REQUIRE(options.bin >= 1, ErrorCode::usage, "a bin has at least 1 base");
               });
    add_choice(app, "--dtype", words.dtype, {"f16", "f32"},
               "Of the numbers in the file; a value too large for f16 is an error");
    add_bytes(app, "--max-output", options.max_output,
              "Refuse to write a larger array where -r, -R or --pool do not bound it (K, M, G: "
              "powers of two)");
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    const auto words = std::make_shared<Words>();
    declare_model(app, options->model);
    add_text(app, "-o,--output", options->output, "FILE.npy",
             "Array to write; FILE.rows.tsv and FILE.json appear beside it");
    declare_reading(app, options->reading);
    declare_rows(app, *options, *words);
    declare_dry_run(app, options->dry_run);
    declare_run(app, common);
    return [options, words](const pipelines::Runtime& runtime) {
        apply(*words, *options);
        return run(*options, runtime);
    };
}

}  // namespace

Command embed_command() {
    return {
        .name = "embed",
        .group = "Using a model",
        .summary = "per-base or binned embeddings to an array file",
        .synopsis = "-m DIR -o out.npy [options] in.fa",
        .notes =
            R"(  The array is [rows, dim], C order: numpy.load("out.npy", mmap_mode="r"). Rows are in the order of
  records or of the regions asked for; out.rows.tsv has contig, start, end (0-based, half-open),
  strand, first row and number of rows; out.json the model's hash, layer, strand and context. Rows
  in gaps are zero. The reverse strand needs a file that can be indexed: plain or bgzip FASTA.

Examples:
  mambase embed -m model -o chr21.npy --pool bin:1000 chr21.fa.gz
  mambase embed -m model -o gene.npy -r chr21:33,031,597-33,041,570 --dtype f32 chr21.fa.gz
  zcat reads.fa.gz | mambase embed -m model -o reads.npy --strand forward -
)",
        .declare = declare};
}

}  // namespace mambase::cli
