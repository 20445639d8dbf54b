#include "kernels/tensor/device_queue.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

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
        // What the kernel could give without swapping; caches of files count as free.
        std::ifstream meminfo("/proc/meminfo");
        std::string line;
        while (std::getline(meminfo, line)) {
            std::istringstream words(line);
            std::string name;
            std::int64_t kibibytes = 0;
            if (words >> name >> kibibytes && name == "MemAvailable:") {
                return kibibytes * 1024;
            }
        }
        return std::numeric_limits<std::int64_t>::max();  // a system that does not say
    }
};

void require_copyable(ConstTensorView from, TensorView to) {
    MAMBASE_REQUIRE(from.shape() == to.shape() && from.dtype() == to.dtype() &&
                        from.is_contiguous() && to.is_contiguous(),
                    ErrorCode::shape,
                    concat("cannot copy ", from.shape().text(), " of ", name(from.dtype()), " to ",
                           to.shape().text(), " of ", name(to.dtype())));
}

}  // namespace

std::unique_ptr<DeviceQueue::Recording> DeviceQueue::record(const std::function<void()>& work) {
    work();
    return nullptr;
}

DeviceQueue& host_queue() {
    static HostQueue queue;
    return queue;
}

void copy(DeviceQueue& queue, ConstTensorView from, TensorView to) {
    require_copyable(from, to);
    queue.copy_bytes(to.data(), from.data(), from.count() * size_of(from.dtype()));
}

void fetch(DeviceQueue& queue, ConstTensorView from, TensorView to) {
    require_copyable(from, to);
    queue.fetch_bytes(to.data(), from.data(), from.count() * size_of(from.dtype()));
}

void zero(DeviceQueue& queue, TensorView view) {
    MAMBASE_REQUIRE(view.is_contiguous(), ErrorCode::shape, "cannot zero a tensor with gaps");
    queue.zero_bytes(view.data(), view.count() * size_of(view.dtype()));
}

}  // namespace mambase
