#include "pipelines/classify_calibrate.hpp"

#include "pipelines/calibration.hpp"
#include "pipelines/window_scores.hpp"

#include <algorithm>

namespace mambase::pipelines {

namespace {

constexpr double kFalseCalls = 0.05;           // share of the calls at the confidence
constexpr std::int64_t kShortestFitted = 32;   // bases; shorter sequences share a temperature
constexpr std::int64_t kFewestSequences = 20;  // that a temperature is fitted on

/// Means of `count` windows that follow one another in the list, of one label and contig.
ScoredSet joined(const ScoredSet& set,
                 const std::vector<LabelledWindow>& windows,
                 std::size_t count) {
    ScoredSet out{set.classes, {}, {}};
    std::vector<double> mean(static_cast<std::size_t>(set.classes));
    for (std::size_t first = 0; first + count <= windows.size();) {
        const LabelledWindow& from = windows[first];
        std::fill(mean.begin(), mean.end(), 0.0);
        std::size_t taken = 0;
        while (taken < count && windows[first + taken].store == from.store &&
               windows[first + taken].bases.contig == from.bases.contig &&
               windows[first + taken].label == from.label) {
            const std::span<const double> row = set.row(static_cast<std::int64_t>(first + taken));
            for (std::size_t c = 0; c < mean.size(); ++c) {
                mean[c] += row[c] / static_cast<double>(count);
            }
            ++taken;
        }
        if (taken == count) {
            out.add(from.label, mean);
        }
        first += taken;
    }
    return out;
}

}  // namespace

Calibration calibrate(Engine& engine,
                      const model::Model& model,
                      const SampleSet& samples,
                      const std::vector<LabelledWindow>& windows,
                      model::HeadPool pool,
                      CallSize size,
                      const Runtime& runtime) {
    const std::int64_t whole = samples.window();
    const auto score = [&](std::int64_t bases) {
        return score_windows(engine, model, samples, windows, bases, pool, size, runtime);
    };
    Calibration out;
    for (const std::int64_t part : {4, 2}) {
        if (whole / part >= kShortestFitted) {
            out.temperatures.push_back({whole / part, fit_temperature(score(whole / part))});
        }
    }
    const ScoredSet set = score(whole);
    out.window.temperature = fit_temperature(set);
    out.temperatures.push_back({whole, out.window.temperature});
    for (const std::int64_t count : {4, 16, 64}) {
        const ScoredSet longer = joined(set, windows, static_cast<std::size_t>(count));
        if (longer.size() < kFewestSequences) {
            break;
        }
        out.temperatures.push_back({count * whole, fit_temperature(longer)});
    }
    const std::vector<Judged> calls = judge(set, out.window.temperature);
    out.confidence = confidence_for(calls, kFalseCalls);
    out.window.windows = set.size();
    out.window.accuracy = accuracy(calls);
    out.window.nats = mean_nats(set, out.window.temperature);
    return out;
}

}  // namespace mambase::pipelines
