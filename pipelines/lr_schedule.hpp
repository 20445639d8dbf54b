// The learning rate over a run: a linear warm-up, then half a cosine.
#pragma once

#include <cstdint>

namespace mambase::pipelines {

struct LrSchedule {
    double peak = 0.0;
    double last = 0.0;        // rate of the last step
    std::int64_t warmup = 0;  // steps; step `warmup` is the first at the peak
    std::int64_t steps = 0;

    /// Rate of step 1 … steps: peak·step/warmup, then
    /// last + (peak − last)·(1 + cos π·(step − warmup)/(steps − warmup))/2
    /// (Loshchilov and Hutter 2017, SGDR, equation 5, without restarts).
    double at(std::int64_t step) const;
};

}  // namespace mambase::pipelines
