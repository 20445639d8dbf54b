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

    /// Between any two of host and device. Host memory must stay as it is until wait(), or
    /// until a fence that is asked for later.
    virtual void copy_bytes(void* to, const void* from, std::int64_t bytes) = 0;
    virtual void zero_bytes(void* to, std::int64_t bytes) = 0;
    /// Until all that was asked for is done.
    virtual void wait() = 0;

    /// From the device to the host: after what was asked for so far, beside what is asked for
    /// later. Both sides stay as they are until a fence of later has been waited for.
    virtual void fetch_bytes(void* to, const void* from, std::int64_t bytes) {
        copy_bytes(to, from, bytes);
    }
    /// A point in the queue.
    class Fence {
      public:
        virtual ~Fence() = default;
        /// Until all that was asked for before it is done, fetches among it.
        virtual void wait() = 0;
    };
    /// Null where everything is done when it is asked for, as on the host.
    virtual std::unique_ptr<Fence> fence() { return nullptr; }

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
/// The same by fetch_bytes.
void fetch(DeviceQueue& queue, ConstTensorView from, TensorView to);
/// Every byte of a contiguous tensor becomes 0.
void zero(DeviceQueue& queue, TensorView view);

}  // namespace mambase
