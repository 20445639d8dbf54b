// An allocator that counts and, when asked, fails the n-th allocation.
#pragma once

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/tensor/buffer.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace mambase::test {

class CountingAllocator final : public Allocator {
  public:
    /// The n-th allocation from now on (1 is the next) throws out_of_memory; 0: none does.
    void fail_at(std::int64_t n) { fail_in_ = n; }

    std::int64_t allocations() const { return allocations_; }
    std::int64_t live_bytes() const { return live_bytes_; }
    std::int64_t live_buffers() const { return live_buffers_; }
    std::int64_t peak_bytes() const { return peak_bytes_; }

    Device device() const noexcept override { return {}; }

    void* allocate(std::int64_t bytes, std::string_view label) override {
        if (fail_in_ > 0 && --fail_in_ == 0) {
            throw Error(ErrorCode::out_of_memory, concat("as asked: ", bytes, " for ", label));
        }
        void* const data = host_allocator().allocate(bytes, label);
        ++allocations_;
        ++live_buffers_;
        live_bytes_ += bytes;
        peak_bytes_ = std::max(peak_bytes_, live_bytes_);
        return data;
    }

    void release(void* data, std::int64_t bytes) noexcept override {
        --live_buffers_;
        live_bytes_ -= bytes;
        host_allocator().release(data, bytes);
    }

  private:
    std::int64_t fail_in_ = 0;
    std::int64_t allocations_ = 0;
    std::int64_t live_bytes_ = 0;
    std::int64_t live_buffers_ = 0;
    std::int64_t peak_bytes_ = 0;
};

}  // namespace mambase::test
