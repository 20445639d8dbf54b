#include "pipelines/evaluate.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <memory>
#include <string_view>
#include <vector>

namespace mambase::cli {

namespace {

using Options = pipelines::EvaluateOptions;

// "11", "1,2,11", "1-12", and lists of these.
std::vector<int> parse_orders(std::string_view text) {
    constexpr std::int64_t highest_order =
        99;  // validate() knows what is possible; this bounds 1-1G
    std::vector<int> orders;
    for (const std::string_view part : split(text, ',')) {
        const std::size_t dash = part.find('-');
        const std::int64_t first = parse_size(part.substr(0, dash), SizeUnits::decimal);
        const std::int64_t last = dash == std::string_view::npos
                                      ? first
                                      : parse_size(part.substr(dash + 1), SizeUnits::decimal);
        MAMBASE_REQUIRE(first <= last && last <= highest_order, ErrorCode::usage,
                        concat("'", part,
                               "' is not an order of a Markov model, nor a range of "
                               "them"));
        for (std::int64_t order = first; order <= last; ++order) {
            orders.push_back(static_cast<int>(order));
        }
    }
    return orders;
}

Options::By parse_by(std::string_view text) {
    using By = Options::By;
    for (const By by : {By::contig, By::region, By::position}) {
        if (name(by) == text) {
            return by;
        }
    }
    return By::all;
}

std::string summary(std::string_view name, const pipelines::Tally& tally) {
    return concat(name, ": ", format_fixed(tally.bits(), 4), " bits a base, perplexity ",
                  format_fixed(tally.perplexity(), 3), ", accuracy ",
                  format_fixed(tally.accuracy(), 4), ", ", format_count(tally.bases), " bases");
}

ExitCode run(const Options& options, const pipelines::Runtime& runtime) {
    options.validate();
    const pipelines::EvaluateReport report = pipelines::evaluate(options, runtime);
    if (options.dry_run) {
        write_stdout(report.plan);
        return ExitCode::done;
    }
    tell(report, runtime);
    return ExitCode::done;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<Options>();
    const auto by = std::make_shared<std::string>("contig");
    declare_model(app, options->model);
    add_text(app, "-o,--output", options->output, "FILE", "Table to write; - is standard output");
    declare_reading(app, options->reading);
    declare_circular(app, options->reading);
    add_choice(app, "--by", *by, {"contig", "region", "position", "all"},
               "Lines before that of all bases: one for each contig, for each of -r, -R, for each "
               "doubling of the distance from where the state was reset, or none");
    add_parsed(app, "--contexts", "LIST",
               "Compare contexts on the same bases: 1k,8k,whole. Lines for each, with the "
               "difference from the first",
               [options](const std::string& text) {
                   for (const std::string_view part : split(text, ',')) {
                       options->contexts.push_back(parse_context(part));
                   }
               });
    add_parsed(
        app, "--baseline", "K",
        "Also score Markov models of these orders, 1 to 12, on the same bases: 11, 1,2,11 or "
        "1-12",
        [options](const std::string& text) { options->baseline = parse_orders(text); });
    add_texts(app, "--baseline-train", options->baseline_train, "FILE",
              "FASTA to fit the Markov models on, both strands; may be given again. Default: the "
              "evaluated files themselves, with a warning");
    declare_shard(app, options->reading.shard);
    declare_dry_run(app, options->dry_run);
    common.exact = true;
    declare_run(app, common);
    return [options, by](const pipelines::Runtime& runtime) {
        options->by = parse_by(*by);
        return run(*options, runtime);
    };
}

}  // namespace

void tell(const pipelines::EvaluateReport& report, const pipelines::Runtime& runtime) {
    if (report.all.all().bases == 0) {
        runtime.observer.warning("no base was scored");
        return;
    }
    for (const auto& at : report.contexts) {
        const bool whole = at.context == pipelines::kWholeContext;
        runtime.observer.info(summary(
            concat("model, context ", whole ? "whole" : format_count(at.context)), at.all.all()));
    }
    for (const auto& baseline : report.baselines) {
        runtime.observer.info(
            summary(concat("Markov order ", baseline.order), baseline.tally.all()));
    }
}

Command evaluate_command() {
    return {
        .name = "evaluate",
        .group = "Using a model",
        .summary = "loss, bits a base and perplexity of a model on sequence files",
        .synopsis = "-m DIR [options] genome.fa [more.fa ...]",
        .notes =
            R"(  The table: name, bases scored, nats and bits a base, perplexity, accuracy of the next base, then
  the same for upper-case and for lower-case (soft-masked) bases. "all" is the sum of nats over the
  sum of bases. Scored is every A, C, G, T but the first base after a reset, with probabilities over
  these four. A line of --by region has the name in column 4 of the BED, or the text of -r; one of
  --by position the distances from the reset, in bases. With --contexts there are four more columns:
  context, and last the difference from the first context in bits a base (negative: better), its
  standard error, and the blocks of the longest context's grid that it is taken over.

Examples:
  mambase evaluate -m model chr21.fa.gz
  mambase evaluate -m model -r chr21:20,000,001-21,000,000 -o chr21.tsv chr21.fa.gz
  mambase evaluate -m model --contexts 1k,8k,64k chr21.fa.gz
  mambase evaluate -m model --shard 2/7 -o part2 genome.fa && mambase merge -o genome.tsv part?
  mambase evaluate -m model --baseline 1-12 --baseline-train chrX.fa.gz chr21.fa.gz
)",
        .declare = declare};
}

}  // namespace mambase::cli
