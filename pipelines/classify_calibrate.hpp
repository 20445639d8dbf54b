// What the validation part says of a trained classifier: temperatures and confidence.
#pragma once

#include "model/classifier.hpp"
#include "model/model.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/samples.hpp"

#include <cstdint>
#include <vector>

namespace mambase::pipelines {

struct ValidatedWindows {
    std::int64_t windows = 0;
    double temperature = 1.0;
    double accuracy = 0.0;
    double nats = 0.0;  // mean −log p of the label, at that temperature
};

struct Calibration {
    std::vector<model::Temperature> temperatures;  // by ascending length
    double confidence = 0.0;
    ValidatedWindows window;  // of single windows
};

/// Temperatures of quarters and halves of a window (of 32 bases at least), of windows, and of means
/// of 4, 16 and 64 that follow one another in `windows` (of one label and contig; at least twenty
/// means). confidence: the least probability with at most 5 % false calls among the windows.
/// windows: at least one. Error{cancelled} on a stop.
Calibration calibrate(Engine& engine,
                      const model::Model& model,
                      const SampleSet& samples,
                      const std::vector<LabelledWindow>& windows,
                      model::HeadPool pool,
                      CallSize size,
                      const Runtime& runtime);

}  // namespace mambase::pipelines
