// Owners of memory.
//
// Memory lives in three places, by lifetime: weights (Tensor, load to end), the state bank (Tensor,
// run long), and step memory (StepMemory, one chunk of the model).
#pragma once

#include "kernels/tensor/dtype.hpp"
#include "kernels/tensor/shape.hpp"
#include "kernels/tensor/view.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mambase {

/// Where memory comes from. 64-byte aligned; contents undefined. Throws Error{out_of_memory} with
/// bytes and label.
class Allocator {
  public:
    virtual ~Allocator() = default;
    virtual Device device() const noexcept = 0;
    virtual void* allocate(std::int64_t bytes, std::string_view label) = 0;
    virtual void release(void* data, std::int64_t bytes) noexcept = 0;
};

/// The process's allocator for host memory.
Allocator& host_allocator();

/// Move-only owner of bytes.
class Buffer {
  public:
    Buffer() = default;
    Buffer(Allocator& allocator, std::int64_t bytes, std::string_view label);
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer();

    void* data() const noexcept { return data_; }
    std::int64_t bytes() const noexcept { return bytes_; }
    Device device() const noexcept {
        return allocator_ != nullptr ? allocator_->device() : Device{};
    }

  private:
    Allocator* allocator_ = nullptr;
    void* data_ = nullptr;
    std::int64_t bytes_ = 0;
};

/// An owned, contiguous tensor. Contents are undefined after construction.
class Tensor {
  public:
    Tensor() = default;
    Tensor(Allocator& allocator, DType dtype, const Shape& shape, std::string_view label);

    explicit operator bool() const noexcept { return buffer_.data() != nullptr; }
    const Shape& shape() const noexcept { return shape_; }
    DType dtype() const noexcept { return dtype_; }
    std::int64_t bytes() const noexcept { return buffer_.bytes(); }
    TensorView view() { return {buffer_.data(), dtype_, shape_, buffer_.device()}; }
    ConstTensorView view() const { return {buffer_.data(), dtype_, shape_, buffer_.device()}; }

  private:
    Buffer buffer_;
    Shape shape_;
    DType dtype_ = DType::f32;
};

/// A stack of memory for one step: activations, saved values and the scratch of ops, taken in order
/// and given back by scope. It grows by blocks when a step needs more than any before; once empty
/// it becomes one block of the high-water mark, so that a steady run allocates nothing. One thread
/// at a time.
class StepMemory {
  public:
    explicit StepMemory(Allocator& allocator) : allocator_(&allocator) {}

    /// What is taken starts at a multiple of this, counted from where memory starts: a line of a
    /// device's memory and more (rows that straddle lines cost forward passes 4 %).
    static constexpr std::int64_t kRounding = 256;
    /// Contents are undefined. Lives until the enclosing Scope ends.
    TensorView take(DType dtype, const Shape& shape);
    /// Where nothing is in use: one block of at least that size, for a caller that knows what will
    /// be taken.
    void reserve(std::int64_t bytes);
    /// Most bytes ever in use at once.
    std::int64_t high_water() const noexcept { return high_water_; }
    std::int64_t in_use() const noexcept { return in_use_; }
    /// Another number whenever blocks have come or gone: as long as it stays, the same takes from
    /// the same in_use() on have the same addresses.
    std::int64_t generation() const noexcept { return generation_; }

    class Scope {
      public:
        explicit Scope(StepMemory& memory);
        ~Scope();
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        StepMemory& memory_;
        std::size_t block_;
        std::int64_t used_;
        std::int64_t in_use_;
    };

  private:
    struct Block {
        Buffer buffer;
        std::int64_t used = 0;
    };

    Allocator* allocator_;
    std::vector<Block> blocks_;
    std::size_t current_ = 0;
    std::int64_t in_use_ = 0;
    std::int64_t high_water_ = 0;
    std::int64_t generation_ = 0;
};

}  // namespace mambase
