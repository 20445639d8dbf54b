// Scratch of the CPU backend's ops and of their tasks.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

namespace mambase::cpu {

inline float* take_floats(ops::Context& context, std::int64_t count) {
    return static_cast<float*>(context.step.take(DType::f32, {count}).data());
}

/// Scratch for as many tasks as run at once. Made by the calling thread; a task claims a piece for
/// as long as it runs and fills what it reads, so that it does not matter which one it gets.
class TaskScratch {
  public:
    TaskScratch(ops::Context& context, std::int64_t tasks, std::int64_t floats) {
        const std::int64_t pieces =
            std::clamp<std::int64_t>(tasks, 1, static_cast<std::int64_t>(context.pool.threads()));
        free_.reserve(static_cast<std::size_t>(pieces));
        for (std::int64_t i = 0; i < pieces; ++i) {
            free_.push_back(take_floats(context, floats));
        }
    }

    class Claim {
      public:
        explicit Claim(TaskScratch& owner) : owner_(owner) {
            const std::lock_guard lock(owner_.mutex_);
            data_ = owner_.free_.back();
            owner_.free_.pop_back();
        }
        ~Claim() {
            const std::lock_guard lock(owner_.mutex_);
            owner_.free_.push_back(data_);
        }
        Claim(const Claim&) = delete;
        Claim& operator=(const Claim&) = delete;
        Claim(Claim&&) = delete;
        Claim& operator=(Claim&&) = delete;

        float* data() const noexcept { return data_; }

      private:
        TaskScratch& owner_;
        float* data_ = nullptr;
    };

  private:
    std::mutex mutex_;
    std::vector<float*> free_;
};

}  // namespace mambase::cpu
