#include "pipelines/bootstrap.hpp"

#include "base/rng.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace mambase::pipelines {

namespace {

/// Sums over windows, of a block or a resample.
struct Sums {
    double windows = 0.0;
    double right = 0.0;
    double beside = 0.0;  // right ones of the other verdicts
    CalibrationBins bins;

    void add(const Sums& other) {
        windows += other.windows;
        right += other.right;
        beside += other.beside;
        bins.add(other.bins);
    }
    double accuracy() const { return windows > 0.0 ? right / windows : 0.0; }
};

/// The blocks of each label.
std::vector<std::vector<Sums>> blocks_of(const std::vector<Verdict>& verdicts,
                                         const std::vector<Verdict>& beside,
                                         std::int64_t labels) {
    std::vector<std::vector<Sums>> out(static_cast<std::size_t>(labels));
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
        const Verdict& verdict = verdicts[i];
        auto& blocks = out[static_cast<std::size_t>(verdict.label)];
        if (i == 0 || verdicts[i - 1].block != verdict.block) {
            blocks.emplace_back();
        }
        Sums one;
        one.windows = 1.0;
        one.right = verdict.right() ? 1.0 : 0.0;
        one.beside = !beside.empty() && beside[i].right() ? 1.0 : 0.0;
        one.bins.add({verdict.probability, verdict.right()});
        blocks.back().add(one);
    }
    return out;
}

/// 0 to 1 of no values.
Interval95 interval_of(std::vector<double> values) {
    if (values.empty()) {
        return {0.0, 1.0};
    }
    std::sort(values.begin(), values.end());
    const auto at = [&](double share) {
        return values[static_cast<std::size_t>(
            std::lround(share * static_cast<double>(values.size() - 1)))];
    };
    return {at(0.025), at(0.975)};
}

}  // namespace

Intervals bootstrap(const std::vector<Verdict>& verdicts,
                    const std::vector<Verdict>& beside,
                    std::int64_t labels,
                    std::int64_t resamples,
                    std::uint64_t seed) {
    const std::vector<std::vector<Sums>> blocks = blocks_of(verdicts, beside, labels);
    std::vector<std::vector<double>> by_label(blocks.size());
    std::vector<double> all;
    std::vector<double> balanced;
    std::vector<double> calibration;
    std::vector<double> difference;
    std::vector<std::vector<double>> observed(CalibrationBins::kBins);
    for (std::int64_t draw = 0; draw < resamples; ++draw) {
        const CounterRng rng(seed, static_cast<std::uint64_t>(draw));
        std::uint64_t counter = 0;
        Sums sum;
        double mean = 0.0;
        double present = 0.0;
        for (std::size_t label = 0; label < blocks.size(); ++label) {
            Sums own;
            for (std::size_t i = 0; i < blocks[label].size(); ++i) {
                own.add(blocks[label][rng.below(counter++, blocks[label].size())]);
            }
            by_label[label].push_back(own.accuracy());
            mean += own.accuracy();
            present += own.windows > 0.0 ? 1.0 : 0.0;
            sum.add(own);
        }
        all.push_back(sum.accuracy());
        balanced.push_back(mean / std::max(present, 1.0));
        calibration.push_back(sum.bins.error());
        for (std::size_t i = 0; i < observed.size(); ++i) {
            if (const CalibrationBins::Bin& bin = sum.bins.bins()[i]; bin.calls > 0.0) {
                observed[i].push_back(bin.right / bin.calls);
            }
        }
        difference.push_back((sum.right - sum.beside) / std::max(sum.windows, 1.0));
    }
    Intervals out;
    for (const std::vector<double>& values : by_label) {
        out.accuracy.push_back(interval_of(values));
    }
    out.all = interval_of(all);
    out.balanced = interval_of(balanced);
    out.calibration_error = interval_of(calibration);
    out.difference = interval_of(difference);
    for (const std::vector<double>& values : observed) {
        out.observed.push_back(interval_of(values));
    }
    return out;
}

}  // namespace mambase::pipelines
