#include "pipelines/bench_timer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>

namespace mambase::pipelines {

namespace {

// Beside this, what it takes to start a kernel and to hear that it is done (some 20 µs) is nothing.
constexpr double kLeastSeconds = 0.01;
constexpr int kMostRuns = 1000;

/// Of one run of `runs`.
double seconds_of(DeviceQueue& queue, const Work& work, int runs) {
    const auto start = std::chrono::steady_clock::now();
    for (int run = 0; run < runs; ++run) {
        work();
    }
    queue.wait();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / runs;
}

int runs_for(DeviceQueue& queue, const Work& work) {
    double seconds = seconds_of(queue, work, 1);
    if (seconds < 1.0) {  // the first run is slower than those that follow
        seconds = seconds_of(queue, work, 1);
    }
    return std::clamp(static_cast<int>(std::ceil(kLeastSeconds / std::max(seconds, 1e-6))), 1,
                      kMostRuns);
}

}  // namespace

double Samples::median() const {
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t middle = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[middle] : 0.5 * (sorted[middle - 1] + sorted[middle]);
}

double Samples::spread() const {
    const auto [low, high] = std::minmax_element(seconds.begin(), seconds.end());
    return (*high - *low) / median();
}

std::vector<Samples> time_interleaved(DeviceQueue& queue,
                                      const std::vector<Work>& works,
                                      int repeats) {
    std::vector<int> runs;
    runs.reserve(works.size());
    for (const Work& work : works) {
        runs.push_back(runs_for(queue, work));
    }
    std::vector<Samples> out(works.size());
    for (int repeat = 0; repeat < repeats; ++repeat) {
        for (std::size_t i = 0; i < works.size(); ++i) {
            out[i].seconds.push_back(seconds_of(queue, works[i], runs[i]));
        }
    }
    return out;
}

}  // namespace mambase::pipelines
