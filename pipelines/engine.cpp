#include "pipelines/engine.hpp"

#include "base/checked_math.hpp"
#include "base/text.hpp"
#include "kernels/ops/op_table.hpp"

#include <algorithm>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kHostRows = 8192;
constexpr std::int64_t kMostRows = std::int64_t{1} << 20;
constexpr std::int64_t kFewestRows = std::int64_t{1} << 14;
/// What a call reads a position beside its id, at most: segment, group or target and weight.
constexpr std::int64_t kReadBytes = 16;
constexpr std::int64_t kRowsBesideTraining = std::int64_t{1} << 18;

std::unique_ptr<DeviceQueue> open(Device device) {
    return device.kind == Device::Kind::cpu ? nullptr : ops::open_device(device);
}

}  // namespace

Engine::Engine(const Runtime& runtime)
    : observer_(runtime.observer),
      device_(open(runtime.device)),
      free_bytes_((device_ ? *device_ : host_queue()).free_bytes()),
      pool_(runtime.threads),
      step_(device_ ? device_->memory() : host_allocator()),
      host_(device_ ? device_->host_memory() : host_allocator()),
      context_(ops::op_table(runtime.device),
               pool_,
               step_,
               device_ ? host_ : step_,
               device_ ? *device_ : host_queue(),
               runtime.precision) {
    set_flush_denormals();
}

Engine::~Engine() {
    if (on_gpu()) {
        try {
            observer_.info(concat("peak device memory: ", format_bytes(device_->peak_bytes())));
        } catch (...) {  // a run does not fail for want of its last words
        }
    }
}

std::int64_t Engine::run_tile() const noexcept {
    return context_.table.run_tile;
}

std::int64_t Engine::chunk(std::int64_t asked) const {
    return on_gpu() ? round_up(asked, context_.table.gradient_tile) : asked;
}

CallSize Engine::reading(const model::ModelConfig& config, std::int64_t asked) const {
    std::int64_t rows = kHostRows;
    if (on_gpu()) {
        rows = kMostRows;
        while (rows > kFewestRows && plan(config, rows).step_bytes > free_bytes_ / 4) {
            rows /= 2;
        }
    }
    const std::int64_t one = asked > 0 ? chunk(asked) : rows;
    return {one, std::min(one, rows)};
}

void Engine::reserve_for_reading(const model::ModelConfig& config,
                                 std::int64_t rows,
                                 std::int64_t row_bytes) {
    step().reserve(plan(config, rows).step_bytes + (kReadBytes + row_bytes) * rows);
}

std::string Engine::reading_plan(const model::ModelConfig& config, std::int64_t rows) const {
    const std::int64_t fits =
        model::largest_chunk(context_.table, config, 1, rows, free_bytes_ / 10 * 9,
                             model::RunMode::forward, context_.activations);
    return concat("reading ", format_count(rows), " bases at once, which takes ",
                  format_bytes(plan(config, rows).total),
                  fits >= rows ? std::string()
                  : fits > 0   ? concat("; the longest --chunk that fits is ", fits)
                               : std::string("; not even the shortest --chunk fits"));
}

model::MemoryPlan Engine::plan(const model::ModelConfig& config, std::int64_t rows) const {
    return model::plan(context_.table, config, 1, rows, rows, model::RunMode::forward,
                       context_.activations);
}

CallSize Engine::beside_training(std::int64_t asked) const {
    return {chunk(asked), on_gpu() ? kRowsBesideTraining : kHostRows};
}

}  // namespace mambase::pipelines
