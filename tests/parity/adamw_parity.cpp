#include "kernels/ops/adamw.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/reference/adamw.hpp"
#include "tests/support/tensor_tools.hpp"

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

std::vector<Backend> tested_backends() {  // no activations, so nothing that bf16 could change
    return in_f32(scalar_and_devices("adamw", &ops::OpTable::adamw));
}

struct Lab {
    Tensor param, m, v;

    explicit Lab(std::int64_t count)
        : param(normal_tensor({count}, 1, 1)),
          m(filled(DType::f32, {count}, 0.0)),
          v(filled(DType::f32, {count}, 0.0)) {}

    void step(Run& run, const Tensor& grad, int step, double weight_decay) {
        ops::AdamW op;
        op.parts = {{param.view(), m.view(), v.view(), grad.view(), weight_decay}};
        op.grad_scale = 0.25;
        op.lr = 0.1;
        op.step = step;
        ops::adamw(run.context(), op);
    }
};

Tensor gradient(std::int64_t count, int step) {
    return from_array(DType::f64,
                      to_array(normal_tensor({count}, 2, static_cast<std::uint64_t>(step)).view()));
}

void check_against_reference(const Backend& backend, std::int64_t count, double weight_decay) {
    INFO(replay_line(backend, "adamw [", count, "] decay ", weight_decay));
    Run run(backend, 2);
    Lab lab(count);
    reference::AdamW expected{to_array(lab.param.view()), Array({count}), Array({count})};
    for (int step = 1; step <= 5; ++step) {
        const Tensor grad = gradient(count, step);
        lab.step(run, grad, step, weight_decay);
        reference::adamw(expected, to_array(grad.view()), 0.25, 0.1, 0.9, 0.95, 1e-8, weight_decay,
                         step);
    }
    const Errors errors{backend, "adamw"};
    errors.values("param", lab.param.view(), expected.param, kForward);
    errors.values("m", lab.m.view(), expected.m, kForward);
    errors.values("v", lab.v.view(), expected.v, kForward);
}

}  // namespace

TEST_CASE("adamw agrees with its reference over steps") {
    for (const Backend& backend : tested_backends()) {
        for (const std::int64_t count : {0, 1, 5, 4095, 4096, 9000}) {
            check_against_reference(backend, count, 0.0);
            check_against_reference(backend, count, 0.1);
        }
    }
}

TEST_CASE("adamw of many parameters at once has the bits of each alone") {
    constexpr std::int64_t kMany = 150;  // more than one launch takes
    const auto count_of = [](std::int64_t i) { return i % 7 == 3 ? 0 : i * i % 1000; };
    const auto decay_of = [](std::int64_t i) { return i % 2 == 0 ? 0.1 : 0.0; };
    for (const Backend& backend : tested_backends()) {
        INFO(backend.name());
        Run run(backend);
        std::vector<Lab> together;
        std::vector<Tensor> gradients;
        ops::AdamW op;
        op.grad_scale = 0.25;
        op.lr = 0.1;
        for (std::int64_t i = 0; i < kMany; ++i) {
            together.emplace_back(count_of(i));
            gradients.push_back(gradient(count_of(i), static_cast<int>(i)));
            Lab& lab = together.back();
            op.parts.push_back({lab.param.view(), lab.m.view(), lab.v.view(),
                                gradients.back().view(), decay_of(i)});
        }
        ops::adamw(run.context(), op);
        for (std::int64_t i = 0; i < kMany; ++i) {
            const auto at = static_cast<std::size_t>(i);
            Lab alone(count_of(i));
            alone.step(run, gradients[at], 1, decay_of(i));
            CHECK(same_bits(together[at].param.view(), alone.param.view()));
            CHECK(same_bits(together[at].m.view(), alone.m.view()));
            CHECK(same_bits(together[at].v.view(), alone.v.view()));
        }
    }
}

TEST_CASE("adamw has the same bits for every number of threads") {
    constexpr std::int64_t count = 20000;
    for (const Backend& backend : tested_backends()) {
        Run single(backend);
        Lab one(count);
        one.step(single, gradient(count, 1), 1, 0.1);
        for (const int threads : thread_counts(backend)) {
            INFO(backend.name() << " threads " << threads);
            Run run(backend, threads);
            Lab lab(count);
            lab.step(run, gradient(count, 1), 1, 0.1);
            CHECK(same_bits(lab.param.view(), one.param.view()));
            CHECK(same_bits(lab.v.view(), one.v.view()));
        }
    }
}

TEST_CASE("a zero gradient leaves a parameter without decay alone") {
    for (const Backend& backend : tested_backends()) {
        Run run(backend);
        Lab lab(10);
        lab.step(run, filled(DType::f64, {10}, 0.0), 1, 0.0);
        CHECK(same_bits(lab.param.view(), Lab(10).param.view()));
    }
}
