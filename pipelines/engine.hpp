// What computes: the threads, the step memory and the ops of one device.
#pragma once

#include "base/thread_pool.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"
#include "pipelines/runtime.hpp"

namespace mambase::pipelines {

/// One per run; used by one thread at a time, which it sets to flush denormals.
class Engine {
  public:
    /// Throws Error{unsupported} where this build has no backend for the device.
    explicit Engine(const Runtime& runtime);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine() = default;

    /// For weights, states and what else outlives a chunk.
    Allocator& allocator() noexcept { return allocator_; }
    ThreadPool& pool() noexcept { return pool_; }
    StepMemory& step() noexcept { return step_; }
    ops::Context& context() noexcept { return context_; }

  private:
    Allocator& allocator_;
    ThreadPool pool_;
    StepMemory step_;
    ops::Context context_;
};

}  // namespace mambase::pipelines
