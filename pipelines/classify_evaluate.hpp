// classify evaluate: what a classifier reaches on windows it was not trained on, beside a k-mer
// model and chance.
#pragma once

#include "pipelines/bootstrap.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct ClassifyEvaluateOptions {
    std::string model;    // directory of a classifier
    std::string samples;  // table, see samples.hpp; its test part is scored
    std::string output = "-";
    std::string reliability;           // table of calls by their probability; may be empty
    std::int64_t windows = 2000;       // of a label, at most, evenly spaced
    std::optional<std::int64_t> kmer;  // also score logistic regression on counts of k-mers
    std::int64_t kmer_windows = 4000;  // of a label, at most, that it is fitted on
    std::int64_t resamples = 1000;     // of the bootstrap
    std::uint64_t seed = 0;            // of the bootstrap
    std::int64_t chunk = 0;            // bases of a window held at once. Changes no result
    std::string tokenizer;             // for a model that does not name its own
    bool ignore_eof = false;
    bool dry_run = false;  // plan in the report, nothing is written

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

/// What one classifier reaches on the test windows.
struct ClassifierResult {
    std::string name;  // "model", "kmer-6"
    std::int64_t windows = 0;
    double accuracy = 0.0;  // of all windows
    double balanced = 0.0;  // mean over labels
    double calibration_error = 0.0;
    double nats = 0.0;  // mean −log p of the right label
    Intervals intervals;
};

struct ClassifyEvaluateReport {
    std::vector<ClassifierResult> results;
    double chance = 0.0;      // the share of the commonest label
    double difference = 0.0;  // in accuracy, model less k-mers, with its interval in results[0]
    std::string plan;         // dry_run: what would be read, memory and time, several lines
};

/// A table: classifier, label (each, then "all" and "balanced", the mean over labels), windows,
/// accuracy with its interval, nats, calibration error with its interval, called and false_calls
/// (the share of windows at or above the classifier's confidence, and of these the wrong ones), and
/// for each label how many windows were called it: the confusion matrix. Rows of "model", with a
/// k-mer model those of "kmer-K" and of "difference", and last "chance"; "." where a column has no
/// meaning.
///
/// reliability: classifier, bin_low, bin_high, windows (whose call has a probability in the bin),
/// their mean probability, the share of them observed to be right with its interval; fifteen bins
/// a classifier, "." in those without a window.
///
/// Intervals: 95 %, bootstrap over blocks of ten neighbouring windows. The k-mer model is fitted on
/// windows of the train part, its penalty chosen on the valid part. Error{usage} where the table
/// has no test window; warns where it is not the one that the classifier was trained with.
/// Otherwise errors as of SampleSet and read_classifier; Error{cancelled} on a stop.
ClassifyEvaluateReport classify_evaluate(const ClassifyEvaluateOptions& options,
                                         const Runtime& runtime);

}  // namespace mambase::pipelines
