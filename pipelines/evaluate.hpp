// evaluate: how well a model predicts the next base of sequence files.
#pragma once

#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/tally.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct EvaluateOptions {
    std::string model;  // directory
    ReadingOptions reading;
    enum class By : std::uint8_t { contig, all };
    By by = By::contig;        // contig: a line for each contig, then the line "all"
    std::string output = "-";  // TSV; "-" is standard output
    /// Orders of Markov models scored on the same bases (see markov.hpp), each 1 to 12.
    std::vector<int> baseline;
    /// FASTA that the Markov models are fitted on; empty: the evaluated bases' own files, whole
    /// (with a warning, since they have then seen what they are scored on).
    std::vector<std::string> baseline_train;
    bool dry_run = false;  // plan in the report, nothing is written

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

struct EvaluateReport {
    CaseTally all;
    struct Baseline {
        int order = 0;
        CaseTally tally;
    };
    std::vector<Baseline> baselines;  // in the order asked for
    std::int64_t contigs = 0;
    std::int64_t context = 0;  // kWholeContext: whole
    std::int64_t bases_read = 0;
    double seconds = 0.0;
    std::string plan;  // dry_run: what would be read, memory and time, several lines
};

/// Writes a table: name, bases, nats, bits, perplexity, accuracy (nats and bits a base), the same
/// four for upper and for lower case with their bases; "NA" where nothing was scored. One line a
/// contig in the order of reading, then "all", then "markov-K" for each order of the baseline. With
/// regions, only their bases, each once.
///
/// Scored is every A, C, G or T but the first base after a reset, with probabilities over A, C, G
/// and T; sums are in double, by position within a block of the context grid (whole: within a
/// record), blocks added in order. Errors as of the readers and Model::load; Error{cancelled} on a
/// stop.
EvaluateReport evaluate(const EvaluateOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
