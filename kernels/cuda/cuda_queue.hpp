// A CUDA device: a stream, one beside it for results, its memory pool, and its matrix products.
#pragma once

#include "kernels/cuda/products.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"

#include <functional>
#include <memory>
#include <string>

#include <cuda_runtime_api.h>

namespace mambase::cuda {

/// Memory of the device in the order of its stream, so that what is released may be used again by
/// what is asked for later. Counts what it holds.
class DeviceAllocator final : public Allocator {
  public:
    DeviceAllocator(int device, cudaStream_t stream) : device_(device), stream_(stream) {}
    Device device() const noexcept override { return {Device::Kind::cuda, device_}; }
    void* allocate(std::int64_t bytes, std::string_view label) override;
    void release(void* data, std::int64_t bytes) noexcept override;
    std::int64_t peak() const noexcept { return peak_; }
    std::int64_t held() const noexcept { return held_; }

  private:
    int device_;
    cudaStream_t stream_;
    std::int64_t held_ = 0;
    std::int64_t peak_ = 0;
};

/// Page-locked memory of the host.
class PinnedAllocator final : public Allocator {
  public:
    Device device() const noexcept override { return {}; }
    void* allocate(std::int64_t bytes, std::string_view label) override;
    void release(void* data, std::int64_t bytes) noexcept override;
};

class CudaQueue final : public DeviceQueue {
  public:
    /// Throws Error{device}: no such device, a driver older than the runtime (both named), a card
    /// that this build has no code for.
    explicit CudaQueue(int index);
    CudaQueue(const CudaQueue&) = delete;
    CudaQueue& operator=(const CudaQueue&) = delete;
    ~CudaQueue() override;

    Device device() const noexcept override { return {Device::Kind::cuda, index_}; }
    Allocator& memory() noexcept override { return *memory_; }
    Allocator& host_memory() noexcept override { return pinned_; }
    void copy_bytes(void* to, const void* from, std::int64_t bytes) override;
    void zero_bytes(void* to, std::int64_t bytes) override;
    void wait() override;
    void fetch_bytes(void* to, const void* from, std::int64_t bytes) override;
    std::unique_ptr<Fence> fence() override;
    /// As a CUDA graph; nothing is kept where the environment says MAMBASE_CUDA_GRAPHS=0, and where
    /// every launch is waited for (MAMBASE_CUDA_SYNC_EACH).
    std::unique_ptr<Recording> record(const std::function<void()>& work) override;
    std::int64_t peak_bytes() const noexcept override { return memory_->peak(); }
    std::int64_t free_bytes() override;

    cudaStream_t stream() const noexcept { return stream_; }
    Products& products() noexcept { return *products_; }
    int multiprocessors() const noexcept { return multiprocessors_; }

  private:
    int index_;
    int multiprocessors_ = 0;
    cudaStream_t stream_ = nullptr;
    cudaStream_t results_ = nullptr;  // fetches
    cudaEvent_t asked_ = nullptr;     // where in stream_ the latest fetch begins
    std::unique_ptr<DeviceAllocator> memory_;
    std::unique_ptr<Products> products_;
    PinnedAllocator pinned_;
};

/// The queue that a context of this backend runs on.
CudaQueue& queue_of(ops::Context& context);
cudaStream_t stream_of(ops::Context& context);

}  // namespace mambase::cuda
