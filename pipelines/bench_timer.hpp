// Times of a benchmark's works, taken in turns.
#pragma once

#include "kernels/tensor/device_queue.hpp"

#include <functional>
#include <vector>

namespace mambase::pipelines {

using Work = std::function<void()>;

/// Times of one work, over the repeats.
struct Samples {
    std::vector<double> seconds;
    double median() const;
    /// (slowest − fastest) / median
    double spread() const;
};

/// Runs all works unmeasured, then `repeats` times one after the other: A B C A B C …, so that
/// whatever else the machine does falls on all alike. A time is that of a work until its device has
/// done it; a short one is run several times for each.
std::vector<Samples> time_interleaved(DeviceQueue& queue,
                                      const std::vector<Work>& works,
                                      int repeats);

}  // namespace mambase::pipelines
