#include "pipelines/score.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <memory>
#include <numbers>

namespace mambase::cli {

namespace {

using Options = pipelines::ScoreOptions;

struct Words {
    std::string what = "logp";
    std::string strand = "both";
};

void apply(const Words& words, Options& options) {
    using pipelines::ScoreStrand;
    using pipelines::ScoreWhat;
    options.what = words.what == "entropy" ? ScoreWhat::entropy : ScoreWhat::logp;
    for (const ScoreStrand strand :
         {ScoreStrand::both, ScoreStrand::forward, ScoreStrand::reverse}) {
        if (name(strand) == words.strand) {
            options.strand = strand;
        }
    }
}

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::ScoreReport report = pipelines::score(options, runtime);
    if (options.dry_run) {
        write_stdout(report.plan);
        return ExitCode::done;
    }
    tell(report, runtime);
    return ExitCode::done;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    const auto words = std::make_shared<Words>();
    declare_model(app, options->model);
    add_text(app, "-o,--output", options->output, "FILE",
             "Track or table to write, by the end of its name: .bw or .bigwig, .bedgraph or "
             ".bedgraph.gz (bgzip, with its index), .tsv or .tsv.gz; - is a table on standard "
             "output. FILE.json beside it, its own ending left out, says what the values are. With "
             "--shard a file for merge, which makes the track");
    declare_reading(app, options->reading);
    declare_circular(app, options->reading);
    add_choice(app, "--what", words->what, {"logp", "entropy"},
               "Of each base, in nats. logp: the logarithm of the probability of the base that is "
               "there; entropy: that of the prediction");
    add_choice(app, "--strand", words->strand, {"both", "forward", "reverse"},
               "What predicts a base. forward: all that is left of it; reverse: all that is right "
               "of it; both: the two together");
    add_parsed(app, "--bin", "INT",
               "A value is the mean of INT bases, counted from the record's start; regions are "
               "widened to whole bins [1]",
               [options](const std::string& text) {
                   options->bin = parse_size(text, SizeUnits::decimal);
               });
    declare_shard(app, options->reading.shard);
    declare_dry_run(app, options->dry_run);
    declare_run(app, common);
    return [options, words](const pipelines::Runtime& runtime) {
        apply(*words, *options);
        return run(*options, runtime);
    };
}

}  // namespace

void tell(const pipelines::ScoreReport& report, const pipelines::Runtime& runtime) {
    if (report.scored == 0) {
        runtime.observer.warning("no base was scored");
    }
    const double mean = report.scored > 0 ? report.sum / static_cast<double>(report.scored) : 0.0;
    runtime.observer.info(concat(report.output, ": ", format_count(report.values), " values of ",
                                 format_count(report.scored), " bases, on average ",
                                 format_fixed(mean, 4), " nats (",
                                 format_fixed(mean / std::numbers::ln2, 4), " bits)"));
    if (!report.description.empty()) {
        runtime.observer.info(concat(report.description, ": what the values are"));
    }
}

Command score_command() {
    return {
        .name = "score",
        .group = "Using a model",
        .summary = "log-probability or entropy of each base, as a track or a table",
        .synopsis = "-m DIR -o out.bw [options] in.fa [more ...]",
        .notes =
            R"(  Probabilities are over A, C, G, T. With both strands p(base | left, right) is proportional to
  p(base | left) p(base | right) / p(base), the last being how often the base comes in the contig
  or read. Where one side predicts nothing (at the ends of records and gaps), the other alone
  counts. Gaps and what is not A, C, G, T are left out, and so are bins in which nothing is scored.
  Regions are sorted and joined. With the reverse strand 20 bytes a base wait under TMPDIR, for a
  contig at a time. Free space is looked at before anything is computed.

Examples:
  mambase score -m model -o chr21.bw chr21.fa.gz
  mambase score -m model -o chr21.entropy.bedgraph.gz --what entropy --bin 100 chr21.fa.gz
  mambase score -m model -o - -r chr21:33,031,597-33,041,570 chr21.fa.gz
  samtools fasta reads.bam | mambase score -m model -o reads.tsv.gz --strand forward -
  for i in 1 2 3; do mambase score -m model --shard $i/3 -o part$i.scores genome.fa; done
  mambase merge -o genome.bw part1.scores part2.scores part3.scores
)",
        .declare = declare};
}

}  // namespace mambase::cli
