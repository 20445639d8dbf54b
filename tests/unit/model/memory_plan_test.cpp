#include "model/memory_plan.hpp"

#include "base/text.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::CpuContext;
using test::error_of;

/// High-water mark of step memory in one training step.
std::int64_t measured(const ModelConfig& config,
                      std::int64_t lanes,
                      std::int64_t length,
                      std::int64_t chunk) {
    CpuContext context(2);
    const Model model = Model::initialise(config, 1, host_allocator());
    const Tensor ids = test::random_ids(lanes, length, config.vocab_size, 3);
    const Tensor weight = test::filled({lanes, length}, 1.0F);
    StateBank states(config, lanes, host_queue());
    Gradients gradients(model, host_queue());
    training_step(*context, model, {ids.view(), ids.view(), weight.view()}, chunk, 1.0, states,
                  gradients);
    return context->step.high_water();
}

}  // namespace

TEST_CASE("memory plan: training takes what was planned, within a tenth") {
    struct Case {
        std::int64_t width, layers, lanes, length, chunk;
    };
    for (const Case each : {Case{64, 4, 1, 4096, 1024}, Case{64, 4, 4, 1024, 1024},
                            Case{128, 2, 2, 1500, 512}, Case{40, 3, 1, 3000, 4096}}) {
        const ModelConfig config = ModelConfig::of_width(each.width, each.layers);
        const MemoryPlan planned = plan(ops::op_table(Device{}), config, each.lanes, each.length,
                                        each.chunk, RunMode::train);
        const auto high_water =
            static_cast<double>(measured(config, each.lanes, each.length, each.chunk));
        CAPTURE(each.width, each.lanes, each.length, each.chunk, planned.step_bytes, high_water);
        CHECK(static_cast<double>(planned.step_bytes) > 0.9 * high_water);
        CHECK(static_cast<double>(planned.step_bytes) < 1.1 * high_water);
    }
}

TEST_CASE("memory plan: a longer window takes the states at its chunks' starts, and nothing else") {
    const ModelConfig config = test::small_config();
    const std::int64_t states = 4 * StateLayout(config, 1).count();
    CHECK(measured(config, 1, 32'768, 1024) - measured(config, 1, 8192, 1024) == (32 - 8) * states);
}

TEST_CASE("memory plan: reading takes what was planned, within a tenth") {
    CpuContext context(2);
    const ModelConfig config = ModelConfig::of_width(64, 4);
    const Model model = Model::initialise(config, 1, host_allocator());
    const Tensor ids = test::random_ids(2, 2000, config.vocab_size, 3);
    StateBank states(config, 2, host_queue());
    {
        const StepMemory::Scope scope(context->step);
        const TensorView logits = context->step.take(DType::f32, {2, 2000, config.vocab_size});
        forward_logits(*context, model, {ids.view(), {}, {}}, states, logits);
    }
    const MemoryPlan planned =
        plan(ops::op_table(Device{}), config, 2, 2000, 2000, RunMode::forward);
    const auto high_water = static_cast<double>(context->step.high_water());
    CAPTURE(planned.step_bytes, high_water);
    CHECK(static_cast<double>(planned.step_bytes) > 0.9 * high_water);
    CHECK(static_cast<double>(planned.step_bytes) < 1.1 * high_water);
}

TEST_CASE("memory plan: items add up, and the largest chunk is the largest that fits") {
    const ModelConfig config = ModelConfig::of_width(64, 4);
    const ops::OpTable& table = ops::op_table(Device{});
    const MemoryPlan whole = plan(table, config, 1, 100'000, 100'000, RunMode::train);
    std::int64_t total = 0;
    for (const MemoryPlan::Item& item : whole.items) {
        total += item.bytes;
    }
    CHECK(total == whole.total);
    CHECK(whole.text().find("in all") != std::string::npos);
    CHECK(largest_chunk(table, config, 1, 100'000, whole.total, RunMode::train) == 100'000);
    const std::int64_t half =
        largest_chunk(table, config, 1, 100'000, whole.total / 2, RunMode::train);
    CHECK(half % table.gradient_tile == 0);
    CHECK(plan(table, config, 1, 100'000, half, RunMode::train).total <= whole.total / 2);
    CHECK(plan(table, config, 1, 100'000, half + 1, RunMode::train).total > whole.total / 2);
    CHECK(largest_chunk(table, config, 1, 100'000, 1000, RunMode::train) == 0);
    CHECK_FALSE(error_of([&] { plan(table, config, 0, 1, 1, RunMode::train); }).empty());
}

}  // namespace mambase::model
