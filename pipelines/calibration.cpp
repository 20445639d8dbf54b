#include "pipelines/calibration.hpp"

#include <algorithm>
#include <cmath>

namespace mambase::pipelines {

namespace {

constexpr double kWidestTemperature = 50.0;
constexpr int kSections = 60;  // of the search: its interval shrinks below 1e-11

/// log Σ exp(scores / temperature)
double log_sum(std::span<const double> scores, double temperature) {
    const double most = *std::max_element(scores.begin(), scores.end());
    double sum = 0.0;
    for (const double score : scores) {
        sum += std::exp((score - most) / temperature);
    }
    return most / temperature + std::log(sum);
}

}  // namespace

void probabilities(std::span<const double> scores, double temperature, std::span<double> out) {
    const double most = *std::max_element(scores.begin(), scores.end());
    double sum = 0.0;
    for (std::size_t i = 0; i < scores.size(); ++i) {
        out[i] = std::exp((scores[i] - most) / temperature);
        sum += out[i];
    }
    for (double& value : out) {
        value /= sum;
    }
}

Call likeliest(std::span<const double> probabilities) {
    const auto most = std::max_element(probabilities.begin(), probabilities.end());
    return {most - probabilities.begin(), *most};
}

double mean_nats(const ScoredSet& set, double temperature) {
    double sum = 0.0;
    for (std::int64_t i = 0; i < set.size(); ++i) {
        const std::span<const double> row = set.row(i);
        const auto label = static_cast<std::size_t>(set.labels[static_cast<std::size_t>(i)]);
        sum += log_sum(row, temperature) - row[label] / temperature;
    }
    return set.size() == 0 ? 0.0 : sum / static_cast<double>(set.size());
}

double fit_temperature(const ScoredSet& set) {
    if (set.size() == 0) {
        return 1.0;
    }
    // The loss is convex in 1 / temperature, so it has one minimum in its logarithm: golden
    // section.
    const double golden = 0.5 * (std::sqrt(5.0) - 1.0);
    const auto loss = [&](double log_temperature) {
        return mean_nats(set, std::exp(log_temperature));
    };
    double low = -std::log(kWidestTemperature);
    double high = std::log(kWidestTemperature);
    double left = high - golden * (high - low);
    double right = low + golden * (high - low);
    double left_loss = loss(left);
    double right_loss = loss(right);
    for (int i = 0; i < kSections; ++i) {
        if (left_loss <= right_loss) {
            high = right;
            right = left;
            right_loss = left_loss;
            left = high - golden * (high - low);
            left_loss = loss(left);
        } else {
            low = left;
            left = right;
            left_loss = right_loss;
            right = low + golden * (high - low);
            right_loss = loss(right);
        }
    }
    return std::exp(0.5 * (low + high));
}

double confidence_for(std::vector<Judged> calls, double share) {
    std::stable_sort(calls.begin(), calls.end(), [](const Judged& a, const Judged& b) {
        return a.probability > b.probability;
    });
    double confidence = 1.0;
    double wrong = 0.0;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        wrong += calls[i].right ? 0.0 : 1.0;
        const bool is_border =
            i + 1 == calls.size() || calls[i + 1].probability < calls[i].probability;
        if (is_border && wrong <= share * static_cast<double>(i + 1)) {
            confidence = calls[i].probability;
        }
    }
    return confidence;
}

std::vector<Judged> judge(const ScoredSet& set, double temperature) {
    std::vector<Judged> out;
    std::vector<double> row(static_cast<std::size_t>(set.classes));
    for (std::int64_t i = 0; i < set.size(); ++i) {
        probabilities(set.row(i), temperature, row);
        const Call call = likeliest(row);
        out.push_back({call.probability, call.label == set.labels[static_cast<std::size_t>(i)]});
    }
    return out;
}

double accuracy(std::span<const Judged> calls) {
    const auto right =
        std::count_if(calls.begin(), calls.end(), [](const Judged& call) { return call.right; });
    return calls.empty() ? 0.0 : static_cast<double>(right) / static_cast<double>(calls.size());
}

void CalibrationBins::add(const Judged& call) {
    Bin& bin = bins_[std::min(
        static_cast<std::size_t>(call.probability * static_cast<double>(kBins)), kBins - 1)];
    bin.calls += 1.0;
    bin.probability += call.probability;
    bin.right += call.right ? 1.0 : 0.0;
}

void CalibrationBins::add(const CalibrationBins& other) {
    for (std::size_t i = 0; i < kBins; ++i) {
        bins_[i].calls += other.bins_[i].calls;
        bins_[i].probability += other.bins_[i].probability;
        bins_[i].right += other.bins_[i].right;
    }
}

double CalibrationBins::error() const {
    double gaps = 0.0;
    double calls = 0.0;
    for (const Bin& bin : bins_) {
        gaps += std::abs(bin.probability - bin.right);
        calls += bin.calls;
    }
    return calls > 0.0 ? gaps / calls : 0.0;
}

}  // namespace mambase::pipelines
