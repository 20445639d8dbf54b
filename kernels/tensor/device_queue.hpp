// A device as those see it who hold data on it: its memory, and its queue of work.
#pragma once

#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/dtype.hpp"
#include "kernels/tensor/view.hpp"

#include <cstdint>
#include <functional>
#include <memory>

namespace mambase {

/// Ops and copies run in the order in which they were asked for, beside the host's own work. One
/// thread at a time. Everything throws Error{device} once the device has failed, and
/// Error{out_of_memory} where memory is short.
class DeviceQueue {
  public:
    virtual ~DeviceQueue() = default;
    virtual Device device() const noexcept = 0;
    /// Memory of the device.
    virtual Allocator& memory() noexcept = 0;
    /// Memory of the host that copies from and to the device go straight through.
    virtual Allocator& host_memory() noexcept = 0;

    /// Between any two of host and device. Host memory must stay as it is until wait().
    virtual void copy_bytes(void* to, const void* from, std::int64_t bytes) = 0;
    virtual void zero_bytes(void* to, std::int64_t bytes) = 0;
    /// Until all that was asked for is done.
    virtual void wait() = 0;

    /// Work that is kept; gone before its queue is.
    class Recording {
      public:
        virtual ~Recording() = default;
        /// Asks for all of it at once: the same ops and copies at the same addresses, on what is
        /// there by then.
        virtual void replay() = 0;
    };
    /// Asks for what `work` asks for, and keeps it. `work` neither waits nor allocates memory of
    /// the device. Null where nothing is kept, as on the host: `work` is called all the same.
    virtual std::unique_ptr<Recording> record(const std::function<void()>& work);

    /// Most bytes of the device ever held at once through memory(), and bytes that are free.
    virtual std::int64_t peak_bytes() const noexcept = 0;
    virtual std::int64_t free_bytes() = 0;
};

/// The host as a device: whatever is asked for is done when the call returns.
DeviceQueue& host_queue();

/// Same type and shape, both contiguous.
void copy(DeviceQueue& queue, ConstTensorView from, TensorView to);
/// Every byte of a contiguous tensor becomes 0.
void zero(DeviceQueue& queue, TensorView view);

}  // namespace mambase
