// What the sequence ops of the CPU backend share: lanes that end early, scratch of tasks.
#pragma once

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

namespace mambase::cpu {

/// Positions of a lane that count. Throws Error{shape} where `valid` is not in [0, length].
inline std::int64_t valid_length(const View<const std::int64_t, 1>& valid,
                                 std::int64_t lane,
                                 std::int64_t length) {
    if (!valid) {
        return length;
    }
    const std::int64_t count = valid(lane);
    MAMBASE_REQUIRE(count >= 0 && count <= length, ErrorCode::shape,
                    concat("valid of lane ", lane, " is ", count, ", expected 0 to ", length));
    return count;
}

/// Address of element (lane, 0, channel) of an optional [B,T,E] view.
template <class T>
T* lane_rows(const View<T, 3>& view, std::int64_t lane, std::int64_t channel = 0) {
    return view ? &view(lane, 0, channel) : nullptr;
}

/// Zeros in rows [lo, hi) and `count` channels of a lane.
inline void zero_rows(
    float* rows, std::int64_t stride, std::int64_t lo, std::int64_t hi, std::int64_t count) {
    for (std::int64_t t = lo; t < hi; ++t) {
        std::fill_n(rows + t * stride, count, 0.0F);
    }
}

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
