// evaluate: how well a model predicts the next base of sequence files.
#pragma once

#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/tally.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::pipelines {

struct EvaluateOptions {
    std::string model;  // directory
    ReadingOptions reading;
    /// Contexts to compare on the same bases, instead of reading.context; kWholeContext: whole.
    std::vector<std::int64_t> contexts;
    /// What has a line of its own, before the line "all": each contig; each of the regions asked
    /// for; the bases at 2^k to 2^(k + 1) - 1 from where the state was reset; nothing else.
    enum class By : std::uint8_t { contig, region, position, all };
    By by = By::contig;
    std::string output = "-";  // TSV; "-" is standard output. Of a shard, its sums
    /// Orders of Markov models scored on the same bases (see markov.hpp), each 1 to 12.
    std::vector<int> baseline;
    /// FASTA that the Markov models are fitted on; empty: the evaluated bases' own files, whole
    /// (with a warning, since they have then seen what they are scored on).
    std::vector<std::string> baseline_train;
    bool dry_run = false;  // plan in the report, nothing is written

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

std::string_view name(EvaluateOptions::By by);

struct EvaluateReport {
    CaseTally all;  // at the first context, as `baselines`
    struct Baseline {
        int order = 0;
        CaseTally tally;
    };
    std::vector<Baseline> baselines;  // in the order asked for
    std::int64_t contigs = 0;
    struct At {
        std::int64_t context = 0;  // kWholeContext: whole
        CaseTally all;
        PairedDifference difference;  // from the first context
    };
    std::vector<At> contexts;  // in the order asked for, one at least
    std::int64_t bases_read = 0;
    double seconds = 0.0;
    std::string plan;  // dry_run: what would be read, memory and time, several lines
};

/// Writes a table: name, bases, nats, bits, perplexity, accuracy (nats and bits a base), the same
/// four for upper and for lower case with their bases; "NA" where nothing was scored. First a line
/// a contig in the order of reading, a region in the order asked for, or a class of positions; then
/// "all", in which every base counts once, whatever regions overlap; then "markov-K" for each order
/// of the baseline.
///
/// With `contexts` each of these is a line for each of them. A column "context" comes second; last
/// come the mean difference from the first context in bits a base (negative: better than it), its
/// standard error over blocks of the grid of the longest context but whole, and the number of those
/// blocks ("NA" for the first context). The inputs are read once for each context.
///
/// Scored is every A, C, G or T but the first base after a reset, with probabilities over A, C, G
/// and T: the same bases whatever the context. Sums are in double, by position within a block of
/// the context grid (whole: within a record or region), blocks added in order. A shard writes these
/// sums, for merge(); the report has what they come to, without contigs and baselines. Errors as of
/// the readers and Model::load; Error{cancelled} on a stop.
EvaluateReport evaluate(const EvaluateOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
