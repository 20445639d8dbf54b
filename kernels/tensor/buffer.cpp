#include "kernels/tensor/buffer.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace mambase {

namespace {

constexpr std::int64_t kAlignment = 64;
constexpr std::int64_t kFirstBlock = std::int64_t{1} << 20;

class HostAllocator final : public Allocator {
  public:
    Device device() const noexcept override { return {}; }

    void* allocate(std::int64_t bytes, std::string_view label) override {
        const std::int64_t padded = std::max(round_up(bytes, kAlignment), kAlignment);
        void* const data = std::aligned_alloc(static_cast<std::size_t>(kAlignment),
                                              static_cast<std::size_t>(padded));
        if (data == nullptr) {
            throw Error(ErrorCode::out_of_memory,
                        concat("out of memory: ", format_bytes(bytes), " for ", label));
        }
        return data;
    }

    void release(void* data, std::int64_t /*bytes*/) noexcept override { std::free(data); }
};

}  // namespace

Allocator& host_allocator() {
    static HostAllocator allocator;
    return allocator;
}

Buffer::Buffer(Allocator& allocator, std::int64_t bytes, std::string_view label)
    : allocator_(&allocator), data_(allocator.allocate(bytes, label)), bytes_(bytes) {}

Buffer::Buffer(Buffer&& other) noexcept
    : allocator_(other.allocator_),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    std::swap(allocator_, other.allocator_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Buffer::~Buffer() {
    if (data_ != nullptr) {
        allocator_->release(data_, bytes_);
    }
}

Tensor::Tensor(Allocator& allocator, DType dtype, const Shape& shape, std::string_view label)
    : buffer_(allocator, checked_mul(shape.count(), size_of(dtype)), label),
      shape_(shape),
      dtype_(dtype) {}

TensorView StepMemory::take(DType dtype, const Shape& shape) {
    const std::int64_t bytes =
        std::max(round_up(checked_mul(shape.count(), size_of(dtype)), kRounding), kRounding);
    while (current_ < blocks_.size() &&
           blocks_[current_].used + bytes > blocks_[current_].buffer.bytes()) {
        ++current_;
    }
    if (current_ == blocks_.size()) {
        // Empty: the most that was ever in use. Full: an eighth more, so that a first step does not
        // hold much more than it needs.
        const std::int64_t size =
            std::max({bytes, kFirstBlock, blocks_.empty() ? high_water_ : in_use_ / 8});
        blocks_.push_back({Buffer(*allocator_, size, "step memory"), 0});
        ++generation_;
    }
    Block& block = blocks_[current_];
    void* const data = static_cast<char*>(block.buffer.data()) + block.used;
    block.used += bytes;
    in_use_ += bytes;
    high_water_ = std::max(high_water_, in_use_);
    return {data, dtype, shape, allocator_->device()};
}

void StepMemory::reserve(std::int64_t bytes) {
    if (in_use_ == 0 && (blocks_.empty() || blocks_.front().buffer.bytes() < bytes)) {
        blocks_.clear();
        current_ = 0;
        blocks_.push_back({Buffer(*allocator_, bytes, "step memory"), 0});
        ++generation_;
    }
}

StepMemory::Scope::Scope(StepMemory& memory)
    : memory_(memory),
      block_(memory.current_),
      used_(block_ < memory.blocks_.size() ? memory.blocks_[block_].used : 0),
      in_use_(memory.in_use_) {}

StepMemory::Scope::~Scope() {
    std::vector<Block>& blocks = memory_.blocks_;
    for (std::size_t i = block_; i < blocks.size(); ++i) {
        blocks[i].used = i == block_ ? used_ : 0;
    }
    memory_.current_ = block_;
    memory_.in_use_ = in_use_;
    if (in_use_ == 0 && blocks.size() > 1) {
        blocks.clear();  // the next take() asks for one block of the high-water mark
        memory_.current_ = 0;
        ++memory_.generation_;
    }
}

}  // namespace mambase
