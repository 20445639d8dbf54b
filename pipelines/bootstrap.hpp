// Intervals for what a classifier reaches, from resampled blocks of neighbouring windows.
#pragma once

#include "pipelines/calibration.hpp"

#include <cstdint>
#include <vector>

namespace mambase::pipelines {

/// What became of one test window.
struct Verdict {
    std::int64_t label = 0;
    std::int64_t block = 0;  // windows of one block lie side by side; by ascending number
    std::int64_t call = 0;
    double probability = 0.0;  // of the call
    double nats = 0.0;         // −log p of the label

    bool right() const { return call == label; }
};

struct Interval95 {
    double low = 0.0;
    double high = 0.0;
};

struct Intervals {
    std::vector<Interval95> accuracy;  // by label
    Interval95 all;                    // accuracy of all windows
    Interval95 balanced;               // mean over labels
    Interval95 calibration_error;
    // Of each bin of CalibrationBins the share of right calls, over the draws that have calls in
    // it; 0 to 1 where none has.
    std::vector<Interval95> observed;
    Interval95 difference;  // all windows: accuracy less that of `beside`
};

/// Percentile intervals of `resamples` draws: of each label as many blocks as it has, with
/// replacement. `beside`: other verdicts of the same windows, or empty. A function of its arguments
/// alone.
Intervals bootstrap(const std::vector<Verdict>& verdicts,
                    const std::vector<Verdict>& beside,
                    std::int64_t labels,
                    std::int64_t resamples,
                    std::uint64_t seed);

}  // namespace mambase::pipelines
