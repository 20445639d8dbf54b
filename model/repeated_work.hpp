// Short work that is asked for again and again.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/device_queue.hpp"

#include <cstdint>
#include <functional>
#include <memory>

namespace mambase::model {

/// A thousand short ops take a device less time than it takes to ask for them one by one. Where
/// work finds everything where it was the time before, so that it will not allocate, it is recorded
/// (DeviceQueue::record), and replayed from then on, with the same bits.
class RepeatedWork {
  public:
    /// Asks for `work`, which reads and writes the states at `states`, step memory and what has
    /// always the same address, and does not wait.
    void ask(ops::Context& context, const void* states, const std::function<void()>& work);
    /// Something else that it uses has moved.
    void forget() { recording_.reset(), place_ = {}; }

  private:
    /// Where it found everything.
    struct Place {
        const ops::Context* context = nullptr;
        const void* states = nullptr;
        std::int64_t generation = 0;  // of step memory
        std::int64_t in_use = 0;

        friend bool operator==(const Place&, const Place&) = default;
    };

    Place place_;
    std::unique_ptr<DeviceQueue::Recording> recording_;
};

}  // namespace mambase::model
