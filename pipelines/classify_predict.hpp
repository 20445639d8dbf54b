// classify predict: which class reads, contigs and whole files are of.
#pragma once

#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mambase::pipelines {

struct ClassifyPredictOptions {
    std::string model;                   // directory of a classifier
    ReadingOptions reading;              // regions and context have no meaning here
    std::string output = "-";            // calls, a line a sequence
    std::string report;                  // clades and their counts; may be empty, as all below
    std::string probs;                   // probabilities, a line a sequence
    std::string taxonomy;                // in place of the classifier's own
    std::string classified_out;          // FASTA; with `paired` a '#' in it becomes 1 and 2
    std::string unclassified_out;        // likewise
    std::optional<double> confidence;    // least probability of a call; the classifier's
    std::optional<std::int64_t> window;  // bases read from a fresh state; the classifier's
    std::optional<std::int64_t> step;    // from window to window; a window
    bool paired = false;                 // inputs two by two: the mates of a pair are one sequence
    bool use_names = false;              // "name (taxid 2)" in place of taxids
    bool dry_run = false;                // plan in the report, nothing is written

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

struct ClassifyPredictReport {
    std::int64_t sequences = 0;
    std::int64_t classified = 0;
    std::int64_t bases = 0;
    std::vector<std::pair<std::string, std::int64_t>> by_label;
    double seconds = 0.0;
    std::string plan;  // dry_run: what would be read, memory and time, several lines
};

/// A line a sequence, kraken2's five columns parted by tabs:
///   C or U · name · taxid (0 for U) · length, of a pair "a|b" · calls of its windows in order,
///   "taxid:windows" (0: below the confidence; A: no A, C, G, T), of a pair parted by "|:|".
///
/// A run between gaps (window.hpp) is read in windows that lie evenly, `step` or less from one to
/// the next, the first at its start and the last at its end; a shorter run is one window. Scores of
/// both strands and all windows of a sequence are averaged, softmax at the temperature of its
/// length: a sequence and its reverse complement, and the mates of a pair in either order, get the
/// same call and the same bits. A sequence without A, C, G, T is U, its probabilities all the same.
///
/// A record's bases are in memory while it is classified, a byte each. Outputs appear whole, at the
/// end. Error{format}: mates whose names differ, files of pairs with different numbers of records;
/// otherwise as of the readers, Model::load, read_classifier and Taxonomy; Error{cancelled} on a
/// stop.
ClassifyPredictReport classify_predict(const ClassifyPredictOptions& options,
                                       const Runtime& runtime);

}  // namespace mambase::pipelines
