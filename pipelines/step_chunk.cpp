#include "pipelines/step_chunk.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <string>

namespace mambase::pipelines {

std::int64_t choose_step_chunk(Engine& engine,
                               const model::ModelConfig& config,
                               const StepShape& shape,
                               std::int64_t asked) {
    const ops::OpTable& table = engine.context().table;
    const DType precision = engine.context().activations;
    const std::int64_t free = engine.queue().free_bytes() / 10 * 9 - shape.held;
    const std::int64_t fits =
        model::largest_chunk(table, config, shape.lanes, shape.window, free, shape.mode, precision);
    const std::int64_t chunk =
        std::min(asked > 0 ? engine.chunk(asked) : std::max<std::int64_t>(fits, 1), shape.window);
    const model::MemoryPlan plan =
        model::plan(table, config, shape.lanes, shape.window, chunk, shape.mode, precision);
    MAMBASE_REQUIRE(plan.total <= free, ErrorCode::out_of_memory,
                    concat("a step in chunks of ", chunk, " bases takes ", format_bytes(plan.total),
                           " (", format_bytes(plan.items.front().bytes), " of it for ",
                           plan.items.front().what, "), free are ", format_bytes(free),
                           fits > 0 ? concat("; the longest chunk that fits is ", fits)
                                    : std::string("; not even the shortest chunk fits")));
    return chunk;
}

}  // namespace mambase::pipelines
