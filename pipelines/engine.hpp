// What computes: the threads, the memory and the ops of one device.
#pragma once

#include "base/thread_pool.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "model/config.hpp"
#include "model/memory_plan.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace mambase::pipelines {

/// Positions of a call of the model.
struct CallSize {
    std::int64_t chunk = 0;  // of a lane
    std::int64_t rows = 0;   // of all lanes, as long as one lane's chunk is below
};

/// One per run; used by one thread at a time, which it sets to flush denormals.
class Engine {
  public:
    /// Throws Error{unsupported} where this build has no backend for the device, Error{device}
    /// where the device cannot be used.
    explicit Engine(const Runtime& runtime);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    /// Tells the observer how much memory of the device was held at most.
    ~Engine();

    bool on_gpu() const noexcept { return device_ != nullptr; }
    /// Where weights, states and what else outlives a chunk are.
    DeviceQueue& queue() noexcept { return context_.queue; }
    ThreadPool& pool() noexcept { return pool_; }
    StepMemory& step() noexcept { return context_.step; }
    /// Step memory of the host; on the CPU the same as step().
    StepMemory& host() noexcept { return context_.host; }
    ops::Context& context() noexcept { return context_; }

    /// Positions of a lane at once: what is asked for, rounded up to what the backend cuts by, so
    /// that where a chunk ends changes no result.
    std::int64_t chunk(std::int64_t asked) const;
    /// What reading takes at once: the chunk that is asked for (0: as suits the device), and no
    /// more in all lanes. A GPU is full at 2^20 positions; fewer where those would take more than a
    /// quarter of its memory.
    CallSize reading(const model::ModelConfig& config, std::int64_t asked) const;
    /// Step memory for a call of that many positions, in one block: what grows on its way holds
    /// more. `row_bytes`: of a position, beside the forward pass.
    void reserve_for_reading(const model::ModelConfig& config,
                             std::int64_t rows,
                             std::int64_t row_bytes);
    /// For errors: what reading that many positions at once takes, and how many would fit.
    std::string reading_plan(const model::ModelConfig& config, std::int64_t rows) const;
    /// What validation takes at once in a run that trains with that chunk: less than a step holds.
    CallSize beside_training(std::int64_t asked) const;
    /// Most lanes that step side by side, one position a call.
    std::int64_t most_lanes() const noexcept { return on_gpu() ? 4096 : 64; }
    /// How windows may share a lane: ops::OpTable::run_tile.
    std::int64_t run_tile() const noexcept;
    /// Positions whose gradients are computed together.
    std::int64_t training_rows() const noexcept { return on_gpu() ? 1 << 17 : 8192; }

  private:
    model::MemoryPlan plan(const model::ModelConfig& config, std::int64_t rows) const;

    const Observer& observer_;
    std::unique_ptr<DeviceQueue> device_;  // null: the host
    std::int64_t free_bytes_;              // of the device, before anything was taken
    ThreadPool pool_;
    StepMemory step_;
    StepMemory host_;
    ops::Context context_;
};

}  // namespace mambase::pipelines
