// The floor beside a classifier: logistic regression on counts of canonical k-mers.
#pragma once

#include "base/thread_pool.hpp"
#include "genomics_io/tokenizer.hpp"
#include "pipelines/calibration.hpp"
#include "pipelines/samples.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace mambase::pipelines {

inline constexpr int kLongestKmer = 8;

/// A k-mer and its reverse complement count as one.
class KmerCounter {
  public:
    /// k from 1 to kLongestKmer.
    KmerCounter(int k, const io::Tokenizer& tokenizer);
    /// F: 2,080 of k = 6.
    std::int64_t size() const { return size_; }
    /// The share of each k-mer among those of `codes` that hold A, C, G, T alone; zeros where there
    /// are none. A sequence and its reverse complement have the same.
    void shares(std::span<const std::uint8_t> codes, float* out) const;

  private:
    int k_;
    std::array<int, 128> base_of_id_{};     // 0 … 3; −1 for what is not A, C, G, T
    std::vector<std::int32_t> feature_of_;  // by word of 2k bits
    std::int64_t size_ = 0;
};

/// Rows of numbers, one a window.
struct FeatureRows {
    std::int64_t width = 0;            // F
    std::vector<float> values;         // [n, F]
    std::vector<std::int64_t> labels;  // [n]

    std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
    std::span<const float> row(std::int64_t i) const {
        return std::span(values).subspan(static_cast<std::size_t>(i * width),
                                         static_cast<std::size_t>(width));
    }
};

/// Multinomial logistic regression: weights [C, F] and biases [C], double precision.
class LogisticRegression {
  public:
    LogisticRegression(std::int64_t classes, std::int64_t width);
    /// Goes on from its weights to the least of mean −log p + penalty/2 · Σ weights² (L-BFGS, a
    /// hundred steps at most). The same bits for every number of threads.
    void fit(const FeatureRows& rows, double penalty, ThreadPool& pool);
    /// Scores of all rows.
    ScoredSet score(const FeatureRows& rows) const;

  private:
    double loss(const FeatureRows& rows,
                double penalty,
                const std::vector<double>& weights,
                std::vector<double>& gradient,
                ThreadPool& pool) const;

    std::int64_t classes_;
    std::int64_t width_;
    std::vector<double> weights_;  // [C, F + 1], the last of a row its bias
};

/// Fits on `train` and scores `test`. Features are standardised by `train`; of five penalties that
/// with the least loss on `valid` is taken (without any, the middle one).
ScoredSet kmer_scores(int k,
                      const SampleSet& samples,
                      const std::vector<LabelledWindow>& train,
                      const std::vector<LabelledWindow>& valid,
                      const std::vector<LabelledWindow>& test,
                      ThreadPool& pool);

}  // namespace mambase::pipelines
