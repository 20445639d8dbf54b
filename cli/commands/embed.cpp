#include "pipelines/embed.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <memory>
#include <utility>

namespace mambase::cli {

namespace {

using Options = pipelines::EmbedOptions;

struct Words {
    bool by_region = false;
    std::string strand = "concat";
    std::string dtype = "f16";
};

pipelines::Pooling parse_pool(const std::string& text) {
    using pipelines::Pool;
    if (text.starts_with("bin:")) {
        const std::int64_t bin = parse_size(text.substr(4), SizeUnits::decimal);
        MAMBASE_REQUIRE(bin >= 1, ErrorCode::usage, "a bin has at least 1 base");
        return pipelines::Pooling::bins(bin);
    }
    for (const auto& [word, how] :
         {std::pair{"none", Pool::none}, std::pair{"mean", Pool::mean}, std::pair{"max", Pool::max},
          std::pair{"last", Pool::last}, std::pair{"region", Pool::mean}}) {
        if (text == word) {
            return {how, 0};
        }
    }
    throw Error(ErrorCode::usage,
                concat("'", text, "' is not one of none, mean, max, last, region, bin:N"));
}

void apply(const Words& words, Options& options) {
    MAMBASE_REQUIRE(!words.by_region || options.reading.has_regions(), ErrorCode::usage,
                    "--pool region: there are no regions; give -r or -R");
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
    tell(report, runtime);
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
    add_parsed(app, "--pool", "none|mean|max|last|region|bin:N",
               "What a row is. none: a base; mean, max, last: of all bases of a record or region "
               "(last: of the one that was read last); region: the mean of each of -r, -R; bin:N: "
               "the mean of each N bases, counted from the record's start [none]",
               [&options, &words](const std::string& text) {
                   words.by_region = text == "region";
                   options.pool = parse_pool(text);
               });
    add_choice(app, "--dtype", words.dtype, {"f16", "f32"},
               "Of the numbers in the file; a value too large for f16 is an error");
    add_parsed(app, "--channel", "K",
               "Write number K of each row, counted from 0, as a track along the sequence",
               [&options](const std::string& text) {
                   options.channel = parse_size(text, SizeUnits::decimal);
               });
    add_bytes(app, "--max-output", options.max_output,
              "Refuse to write a larger array where -r, -R or --pool do not bound it (K, M, G: "
              "powers of two)");
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    const auto words = std::make_shared<Words>();
    declare_model(app, options->model);
    add_text(
        app, "-o,--output", options->output, "FILE.npy|FILE.h5",
        "Array to write; FILE.rows.tsv and FILE.json appear beside .npy, in .h5 all is inside. "
        "With --channel a track: .bw, .bedgraph.gz, .tsv.gz");
    declare_reading(app, options->reading);
    declare_circular(app, options->reading);
    declare_rows(app, *options, *words);
    declare_shard(app, options->reading.shard);
    declare_dry_run(app, options->dry_run);
    declare_run(app, common);
    return [options, words](const pipelines::Runtime& runtime) {
        apply(*words, *options);
        return run(*options, runtime);
    };
}

}  // namespace

void tell(const pipelines::EmbedReport& report, const pipelines::Runtime& runtime) {
    runtime.observer.info(concat(report.array, ": ", format_count(report.rows), " rows of ",
                                 report.dim, " numbers, ", format_bytes(report.bytes)));
    if (!report.rows_table.empty()) {
        runtime.observer.info(concat(report.rows_table, ": which rows are which bases"));
    }
    if (!report.description.empty()) {
        runtime.observer.info(concat(report.description, ": what the numbers are"));
    }
}

Command embed_command() {
    return {
        .name = "embed",
        .group = "Using a model",
        .summary = "embeddings of bases, bins, regions or reads to an array file or a track",
        .synopsis = "-m DIR -o out.npy [options] in.fa [more ...]",
        .notes =
            R"(  The array is [rows, dim], C order: numpy.load("out.npy", mmap_mode="r"). Rows are in the order of
  records or of the regions asked for; out.rows.tsv has contig, start, end (0-based, half-open),
  strand, first row and number of rows; out.json the model's hash, layer, strand and context. Rows
  in gaps are zero. Of reads, plain gzip and pipes the reverse strand waits under TMPDIR, a byte a
  base. Reads come in their original orientation, secondary and supplementary alignments are passed
  over.

Examples:
  mambase embed -m model -o chr21.npy --pool bin:1000 chr21.fa.gz
  mambase embed -m model -o gene.npy -r chr21:33,031,597-33,041,570 --dtype f32 chr21.fa.gz
  mambase embed -m model -o channel5.bw --channel 5 --strand forward --layer 2 chr21.fa.gz
  mambase embed -m model -o reads.npy --pool mean reads.bam
  mambase embed -m model -o part1.npy --shard 1/7 --pool bin:1000 genome.fa
  zcat reads.fq.gz | mambase embed -m model -o reads.npy --pool last -
)",
        .declare = declare};
}

}  // namespace mambase::cli
