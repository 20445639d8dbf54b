#include "kernels/ops/adamw.hpp"
#include "tests/parity/tolerances.hpp"
#include "tests/support/reference/adamw.hpp"
#include "tests/support/tensor_tools.hpp"

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

struct Lab {
    Tensor param, m, v;

    explicit Lab(std::int64_t count)
        : param(normal_tensor({count}, 1, 1)),
          m(filled(DType::f32, {count}, 0.0)),
          v(filled(DType::f32, {count}, 0.0)) {}

    void step(CpuRun& run, const Tensor& grad, int step, double weight_decay) {
        ops::AdamW op;
        op.param = param.view();
        op.m = m.view();
        op.v = v.view();
        op.grad = grad.view();
        op.grad_scale = 0.25;
        op.lr = 0.1;
        op.weight_decay = weight_decay;
        op.step = step;
        ops::adamw(run.context(), op);
    }
};

Tensor gradient(std::int64_t count, int step) {
    return from_array(DType::f64,
                      to_array(normal_tensor({count}, 2, static_cast<std::uint64_t>(step)).view()));
}

}  // namespace

TEST_CASE("adamw agrees with its reference over steps") {
    for (const std::int64_t count : {0, 1, 5, 4095, 4096, 9000}) {
        for (const double weight_decay : {0.0, 0.1}) {
            INFO("adamw [" << count << "] decay " << weight_decay);
            CpuRun run(cpu::SimdLevel::scalar, 2);
            Lab lab(count);
            reference::AdamW expected{to_array(lab.param.view()), Array({count}), Array({count})};
            for (int step = 1; step <= 5; ++step) {
                const Tensor grad = gradient(count, step);
                lab.step(run, grad, step, weight_decay);
                reference::adamw(expected, to_array(grad.view()), 0.25, 0.1, 0.9, 0.95, 1e-8,
                                 weight_decay, step);
            }
            CHECK(relative_error(lab.param.view(), expected.param) < kForward);
            CHECK(relative_error(lab.m.view(), expected.m) < kForward);
            CHECK(relative_error(lab.v.view(), expected.v) < kForward);
        }
    }
}

TEST_CASE("adamw has the same bits for every number of threads") {
    constexpr std::int64_t count = 20000;
    CpuRun single(cpu::SimdLevel::scalar);
    Lab one(count);
    one.step(single, gradient(count, 1), 1, 0.1);
    for (const int threads : {2, 3, 7}) {
        CpuRun run(cpu::SimdLevel::scalar, threads);
        Lab lab(count);
        lab.step(run, gradient(count, 1), 1, 0.1);
        CHECK(same_bits(lab.param.view(), one.param.view()));
        CHECK(same_bits(lab.v.view(), one.v.view()));
    }
}

TEST_CASE("a zero gradient leaves a parameter without decay alone") {
    CpuRun run(cpu::SimdLevel::scalar);
    Lab lab(10);
    lab.step(run, filled(DType::f64, {10}, 0.0), 1, 0.0);
    CHECK(same_bits(lab.param.view(), Lab(10).param.view()));
}
