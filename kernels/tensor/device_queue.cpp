#include "kernels/tensor/device_queue.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <cstring>
#include <unistd.h>

namespace mambase {

namespace {

class HostQueue final : public DeviceQueue {
  public:
    Device device() const noexcept override { return {}; }
    Allocator& memory() noexcept override { return host_allocator(); }
    Allocator& host_memory() noexcept override { return host_allocator(); }
    void copy_bytes(void* to, const void* from, std::int64_t bytes) override {
        if (bytes > 0) {
            std::memmove(to, from, static_cast<std::size_t>(bytes));
        }
    }
    void zero_bytes(void* to, std::int64_t bytes) override {
        if (bytes > 0) {
            std::memset(to, 0, static_cast<std::size_t>(bytes));
        }
    }
    void wait() override {}
    std::int64_t peak_bytes() const noexcept override { return 0; }  // not counted on the host
    std::int64_t free_bytes() override {
        return static_cast<std::int64_t>(sysconf(_SC_AVPHYS_PAGES)) *
               static_cast<std::int64_t>(sysconf(_SC_PAGESIZE));
    }
};

}  // namespace

DeviceQueue& host_queue() {
    static HostQueue queue;
    return queue;
}

void copy(DeviceQueue& queue, ConstTensorView from, TensorView to) {
    MAMBASE_REQUIRE(from.shape() == to.shape() && from.dtype() == to.dtype() &&
                        from.is_contiguous() && to.is_contiguous(),
                    ErrorCode::shape,
                    concat("cannot copy ", from.shape().text(), " of ", name(from.dtype()), " to ",
                           to.shape().text(), " of ", name(to.dtype())));
    queue.copy_bytes(to.data(), from.data(), from.count() * size_of(from.dtype()));
}

void zero(DeviceQueue& queue, TensorView view) {
    MAMBASE_REQUIRE(view.is_contiguous(), ErrorCode::shape, "cannot zero a tensor with gaps");
    queue.zero_bytes(view.data(), view.count() * size_of(view.dtype()));
}

}  // namespace mambase
