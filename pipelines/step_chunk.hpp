// Positions of a window that a training step holds at once.
#pragma once

#include "model/config.hpp"
#include "model/memory_plan.hpp"
#include "pipelines/engine.hpp"

#include <cstdint>

namespace mambase::pipelines {

struct StepShape {
    std::int64_t lanes = 1;
    std::int64_t window = 1;
    model::RunMode mode = model::RunMode::train;
    std::int64_t held = 0;  // bytes that the run will hold beside its steps
};

/// What is asked for (0: nothing), else as many positions as fit beside what else the run holds; at
/// most the window. Error{out_of_memory} where that does not fit.
std::int64_t choose_step_chunk(Engine& engine,
                               const model::ModelConfig& config,
                               const StepShape& shape,
                               std::int64_t asked);

}  // namespace mambase::pipelines
