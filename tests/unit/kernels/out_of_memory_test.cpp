// Ops that take scratch: every allocation fails once, nothing leaks, and the next call works.
#include "base/error.hpp"
#include "kernels/ops/op_table.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/counting_allocator.hpp"
#include "tests/support/tensor_tools.hpp"

#include <functional>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

/// Calls `op` with the n-th allocation failing for n = 1, 2, … until none is left to fail.
void fail_each_allocation(const std::function<void(ops::Context&)>& op) {
    for (std::int64_t n = 1;; ++n) {
        CountingAllocator allocator;
        Run run(cpu_backend(cpu::SimdLevel::scalar), 2, allocator);
        allocator.fail_at(n);
        bool failed = false;
        try {
            op(run.context());
        } catch (const Error& error) {
            failed = true;
            CHECK(error.code() == ErrorCode::out_of_memory);
        }
        CHECK(run.step().in_use() == 0);
        if (!failed) {
            CHECK(n > 1);
            return;
        }
        allocator.fail_at(0);
        CHECK_NOTHROW(op(run.context()));
        CHECK(run.step().in_use() == 0);
    }
}

// More than the first block of the step memory, so that the second scratch is another allocation.
constexpr std::int64_t kLength = 3000;
constexpr std::int64_t kWidth = 96;

}  // namespace

TEST_CASE("linear survives every failed allocation") {
    const Tensor x = normal_tensor({1, kLength, kWidth}, 1, 1);
    const Tensor weight = normal_tensor({kWidth, kWidth}, 1, 2);
    Tensor y = filled(DType::f32, {1, kLength, kWidth}, 0.0);
    Tensor dx = filled(DType::f32, {1, kLength, kWidth}, 0.0);
    Tensor dweight = filled(DType::f64, {kWidth, kWidth}, 0.0);
    fail_each_allocation([&](ops::Context& context) {
        ops::linear_forward(context, {x.view(), weight.view(), {}, y.view()});
    });
    fail_each_allocation([&](ops::Context& context) {
        ops::LinearGrad op;
        op.x = x.view();
        op.weight = weight.view();
        op.dy = y.view();
        op.dx = dx.view();
        op.dweight = dweight.view();
        ops::linear_backward(context, op);
    });
}

TEST_CASE("rms_norm, cross_entropy and norm_sq survive every failed allocation") {
    const Tensor x = normal_tensor({1, kLength, 16}, 1, 1);
    const Tensor weight = normal_tensor({16}, 1, 2);
    const Tensor rstd = filled(DType::f32, {1, kLength}, 1.0);
    const Tensor targets = random_ids(DType::u8, {1, kLength}, 16, 1, 3);
    Tensor dx = filled(DType::f32, {1, kLength, 16}, 0.0);
    Tensor dweight = filled(DType::f64, {16}, 0.0);
    Tensor sum = filled(DType::f64, {1}, 0.0);
    fail_each_allocation([&](ops::Context& context) {
        ops::RmsNormGrad op;
        op.residual_out = x.view();
        op.weight = weight.view();
        op.rstd = rstd.view();
        op.dy = x.view();
        op.dx = dx.view();
        op.dweight = dweight.view();
        ops::rms_norm_backward(context, op);
    });
    fail_each_allocation([&](ops::Context& context) {
        ops::CrossEntropy op;
        op.logits = x.view();
        op.targets = targets.view();
        op.loss_sum = sum.view();
        ops::cross_entropy_forward(context, op);
    });
    fail_each_allocation([&](ops::Context& context) {
        ops::norm_sq(context, {x.view().reshape({kLength * 16}), sum.view()});
    });
}
