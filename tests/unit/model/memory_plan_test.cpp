#include "model/memory_plan.hpp"

#include "base/text.hpp"
#include "model/adamw.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "tests/support/places.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <cstdio>
#include <memory>

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

/// What a run of the model holds on a device, with a queue of its own.
struct Held {
    std::int64_t peak;        // of the device's memory
    std::int64_t high_water;  // of step memory
};

struct DeviceCase {
    std::int64_t width, layers, lanes, length, chunk;
    bool tied = true;
};

Held held_on(const test::Place& place,
             const DeviceCase& at,
             const ModelConfig& config,
             RunMode mode) {
    const std::unique_ptr<DeviceQueue> queue = ops::open_device(place.device);
    ThreadPool pool(1);
    StepMemory step(queue->memory());
    StepMemory host(queue->host_memory());
    ops::Context context(ops::op_table(place.device), pool, step, host, *queue, place.activations);
    const MemoryPlan planned =
        plan(context.table, config, at.lanes, at.length, at.chunk, mode, place.activations);
    Model model = Model::initialise(config, 1, host_allocator()).on_device(*queue);
    StateBank states(config, at.lanes, *queue);
    const Tensor on_host = test::random_ids(at.lanes, at.length, config.vocab_size, 3);
    Tensor ids(queue->memory(), DType::u8, on_host.shape(), "ids");
    copy(*queue, on_host.view(), ids.view());
    step.reserve(planned.step_bytes);
    if (mode == RunMode::train) {
        Tensor targets(queue->memory(), DType::u8, on_host.shape(), "targets");
        Tensor weight(queue->memory(), DType::f32, on_host.shape(), "weight");
        copy(*queue, on_host.view(), targets.view());
        const Tensor ones = test::filled(on_host.shape(), 1.0F);
        copy(*queue, ones.view(), weight.view());
        queue->wait();
        Gradients gradients(model, *queue);
        AdamW optimizer(model, {}, *queue);
        training_step(context, model, {ids.view(), targets.view(), weight.view()}, at.chunk,
                      1.0 / static_cast<double>(on_host.shape().count()), states, gradients);
        optimizer.step(context, model, gradients, 1e-3);
        queue->wait();
    } else {
        for (std::int64_t lo = 0; lo < at.length; lo += at.chunk) {
            const std::int64_t hi = std::min(lo + at.chunk, at.length);
            const StepMemory::Scope scope(step);
            const TensorView logits = step.take(DType::f32, {at.lanes, hi - lo, config.vocab_size});
            forward_logits(context, model, {ids.view().slice(1, lo, hi), {}, {}}, states, logits);
        }
        queue->wait();
    }
    return {queue->peak_bytes(), step.high_water()};
}

void check_on(const test::Place& place, const DeviceCase& at, RunMode mode) {
    ModelConfig config = ModelConfig::of_width(at.width, at.layers);
    config.tie_embeddings = at.tied;
    const MemoryPlan planned = plan(ops::op_table(place.device), config, at.lanes, at.length,
                                    at.chunk, mode, place.activations);
    const Held held = held_on(place, at, config, mode);
    const auto off = [](std::int64_t held_bytes, std::int64_t planned_bytes) {
        return static_cast<double>(held_bytes) / static_cast<double>(planned_bytes) - 1.0;
    };
    const double peak = off(held.peak, planned.total);
    const double high_water = off(held.high_water, planned.step_bytes);
    const std::string line =
        concat(mode == RunMode::train ? "train " : "read ", place.text(), " ", at.width, " x ",
               at.layers, ", ", at.lanes, " x ", at.length, " in ", at.chunk, ": planned ",
               format_bytes(planned.total), ", held ", format_fixed(100.0 * peak, 1),
               " % more; step memory ", format_bytes(planned.step_bytes), ", ",
               format_fixed(100.0 * high_water, 1), " %");
    std::printf("%s\n", line.c_str());
    INFO(line);
    CHECK(std::abs(peak) < 0.1);
    CHECK(std::abs(high_water) < 0.1);
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

TEST_CASE("memory plan: a device holds what was planned, within a tenth", "[.gpu]") {
    if (test::devices().empty()) {
        std::printf("SKIP: no CUDA device\n");
    }
    for (const test::Place& place : test::devices()) {
        for (const DeviceCase& at :
             {DeviceCase{256, 8, 1, 1024, 1024}, DeviceCase{256, 8, 1, 1 << 20, 131'072},
              DeviceCase{256, 8, 1, 100'003, 65'536}, DeviceCase{256, 8, 128, 1024, 1024},
              DeviceCase{256, 8, 16, 8192, 8192, false}, DeviceCase{128, 4, 1, 200'000, 8192},
              DeviceCase{64, 4, 512, 150, 150}, DeviceCase{40, 3, 3, 20'000, 8192}}) {
            check_on(place, at, RunMode::train);
            check_on(place, at, RunMode::forward);
        }
    }
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
