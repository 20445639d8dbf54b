// From scores of classes to probabilities that can be believed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mambase::pipelines {

/// Sequences with their scores and the class that they are of.
struct ScoredSet {
    std::int64_t classes = 0;
    std::vector<std::int64_t> labels;  // [n]
    std::vector<double> scores;        // [n, C]

    std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
    void add(std::int64_t label, std::span<const double> row) {
        labels.push_back(label);
        scores.insert(scores.end(), row.begin(), row.end());
    }
    std::span<const double> row(std::int64_t i) const {
        return std::span(scores).subspan(static_cast<std::size_t>(i * classes),
                                         static_cast<std::size_t>(classes));
    }
};

/// softmax(scores / temperature), in double precision; may be in place.
void probabilities(std::span<const double> scores, double temperature, std::span<double> out);

/// A class and its probability.
struct Call {
    std::int64_t label = 0;
    double probability = 0.0;
};
/// The likeliest class, the first of equals.
Call likeliest(std::span<const double> probabilities);

/// Mean −log p of the right class.
double mean_nats(const ScoredSet& set, double temperature);
/// The temperature in [1/50, 50] with the least mean_nats; 1 of an empty set.
double fit_temperature(const ScoredSet& set);

/// What became of a call.
struct Judged {
    double probability = 0.0;
    bool right = false;
};

/// The least probability such that of the calls at or above it at most `share` are false; 1 where
/// there is none such.
double confidence_for(std::vector<Judged> calls, double share);

/// What became of sequences, each given its likeliest class.
std::vector<Judged> judge(const ScoredSet& set, double temperature);
/// The share of right ones; 0 of none.
double accuracy(std::span<const Judged> calls);

/// Expected calibration error: calls in fifteen bins of probability, the mean over calls of how far
/// a bin's mean probability lies from its share of right calls.
class CalibrationBins {
  public:
    void add(const Judged& call);
    void add(const CalibrationBins& other);
    /// 0 of no calls.
    double error() const;

    struct Bin {
        double calls = 0.0;
        double probability = 0.0;  // sum over calls
        double right = 0.0;        // calls
    };
    static constexpr std::size_t kBins = 15;  // bin i: probabilities from i / 15
    const std::array<Bin, kBins>& bins() const { return bins_; }

  private:
    std::array<Bin, kBins> bins_{};
};

}  // namespace mambase::pipelines
