#include "kernels/tensor/buffer.hpp"

#include "base/error.hpp"
#include "tests/support/counting_allocator.hpp"

#include <cstdint>
#include <limits>
#include <utility>

#include <catch2/catch.hpp>

using namespace mambase;
using mambase::test::CountingAllocator;

namespace {

bool is_aligned(const void* data) {
    return reinterpret_cast<std::uintptr_t>(data) % 64 == 0;
}

}  // namespace

TEST_CASE("a buffer owns its bytes and gives them back once") {
    CountingAllocator allocator;
    {
        Buffer first(allocator, 100, "first");
        CHECK(is_aligned(first.data()));
        Buffer second = std::move(first);
        CHECK(first.data() == nullptr);  // NOLINT(bugprone-use-after-move)
        CHECK(second.bytes() == 100);
        Buffer third(allocator, 10, "third");
        third = std::move(second);
        CHECK(third.bytes() == 100);
    }
    CHECK(allocator.live_buffers() == 0);
    CHECK(allocator.live_bytes() == 0);
    CHECK(allocator.peak_bytes() == 110);
}

TEST_CASE("a tensor has its shape's bytes, and none when empty") {
    CountingAllocator allocator;
    Tensor tensor(allocator, DType::f64, {3, 5}, "tensor");
    CHECK(tensor.bytes() == 120);
    CHECK(tensor.view().is_contiguous());
    CHECK(tensor);
    CHECK_FALSE(Tensor());
    CHECK(Tensor(allocator, DType::f32, {0, 5}, "empty").view().count() == 0);
    constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max() / 4;
    CHECK_THROWS_WITH(Tensor(allocator, DType::f64, {huge}, "huge"), Catch::Contains("overflows"));
}

// A sanitizer's allocator aborts where the real one says no.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("out of memory names bytes and label") {
    constexpr std::int64_t huge = std::int64_t{1} << 60;
    try {
        const Buffer buffer(host_allocator(), huge, "the weights");
        FAIL("no machine has this memory");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::out_of_memory);
        CHECK_THAT(error.what(), Catch::Contains("the weights"));
    }
}
#endif

constexpr std::int64_t kRounding = StepMemory::kRounding;

TEST_CASE("step memory is taken in order and given back by scope") {
    CountingAllocator allocator;
    StepMemory memory(allocator);
    {
        const StepMemory::Scope outer(memory);
        const TensorView a = memory.take(DType::f32, {3});
        CHECK(is_aligned(a.data()));
        CHECK(memory.in_use() == kRounding);
        void* inner_data = nullptr;
        {
            const StepMemory::Scope inner(memory);
            inner_data = memory.take(DType::f64, {100}).data();
            CHECK(memory.in_use() == kRounding + 1024);
        }
        CHECK(memory.in_use() == kRounding);
        CHECK(memory.take(DType::u8, {1}).data() == inner_data);
    }
    CHECK(memory.in_use() == 0);
    CHECK(memory.high_water() == kRounding + 1024);
}

TEST_CASE("step memory that has outgrown its block becomes one block, then it allocates no more") {
    CountingAllocator allocator;
    StepMemory memory(allocator);
    const auto step = [&memory] {
        const StepMemory::Scope scope(memory);
        for (int i = 0; i < 5; ++i) {
            memory.take(DType::u8, {700'000});
        }
    };
    step();
    const std::int64_t blocks = allocator.allocations();
    CHECK(blocks > 1);
    CHECK(allocator.live_buffers() == 0);
    step();
    CHECK(allocator.allocations() == blocks + 1);
    CHECK(allocator.live_buffers() == 1);
    for (int i = 0; i < 3; ++i) {
        step();
    }
    CHECK(allocator.allocations() == blocks + 1);
    CHECK(allocator.live_bytes() == memory.high_water());
}

TEST_CASE("step memory that is reserved is one block, as long as nothing is in use") {
    CountingAllocator allocator;
    StepMemory memory(allocator);
    memory.reserve(1'000'000);
    memory.reserve(500'000);
    CHECK(allocator.allocations() == 1);
    {
        const StepMemory::Scope scope(memory);
        memory.take(DType::u8, {900'000});
        memory.reserve(2'000'000);
        CHECK(allocator.allocations() == 1);
    }
    const std::int64_t generation = memory.generation();
    memory.reserve(2'000'000);
    CHECK(memory.generation() != generation);
    CHECK(allocator.live_buffers() == 1);
    CHECK(allocator.live_bytes() == 2'000'000);
}

TEST_CASE("what is taken keeps its place while step memory grows") {
    CountingAllocator allocator;
    StepMemory memory(allocator);
    const StepMemory::Scope scope(memory);
    auto* const first = static_cast<std::uint8_t*>(memory.take(DType::u8, {10}).data());
    first[9] = 42;
    memory.take(DType::u8, {std::int64_t{4} << 20});
    CHECK(first[9] == 42);
}

TEST_CASE("step memory that could not grow is still usable") {
    CountingAllocator allocator;
    StepMemory memory(allocator);
    const StepMemory::Scope scope(memory);
    memory.take(DType::u8, {100});
    allocator.fail_at(1);
    CHECK_THROWS_AS(memory.take(DType::u8, {std::int64_t{8} << 20}), Error);
    CHECK(memory.in_use() == kRounding);
    memory.take(DType::u8, {100});
    CHECK(memory.in_use() == 2 * kRounding);
}
