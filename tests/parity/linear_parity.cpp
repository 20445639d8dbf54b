#include "kernels/ops/linear.hpp"
#include "tests/parity/tolerances.hpp"
#include "tests/support/reference/linear.hpp"
#include "tests/support/tensor_tools.hpp"

#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Case {
    std::int64_t batch, length, inputs, outputs;
    bool has_bias = false;
    bool adds_to_dx = false;
    bool has_dx = true;
    std::uint64_t seed = 1;

    std::string text() const {
        return concat("linear [", batch, ", ", length, ", ", inputs, "] -> ", outputs,
                      has_bias ? " bias" : "", adds_to_dx ? " add" : "", has_dx ? "" : " no dx",
                      " seed ", seed);
    }
};

/// Arguments and results of one case. Rows lie apart, in gaps that hold NaN; dx starts as NaN, or
/// as ones where it is added to.
struct Lab {
    Case at;
    StridedTensor x, dy;
    Tensor weight, bias;
    StridedTensor y, dx;
    Tensor dweight, dbias;

    explicit Lab(const Case& c)
        : at(c),
          x(normal_tensor({c.batch, c.length, c.inputs}, c.seed, 1), 3, kNan),
          dy(normal_tensor({c.batch, c.length, c.outputs}, c.seed, 2), 5, kNan),
          weight(normal_tensor({c.outputs, c.inputs}, c.seed, 3)),
          bias(normal_tensor({c.outputs}, c.seed, 4)),
          y({c.batch, c.length, c.outputs}, 2, kNan),
          dx({c.batch, c.length, c.inputs}, 4, kNan),
          dweight(filled(DType::f64, {c.outputs, c.inputs}, 1.0)),
          dbias(filled(DType::f64, {c.outputs}, 1.0)) {
        if (c.adds_to_dx) {
            fill_with(dx.view(), 1.0);
        }
    }

    void forward(CpuRun& run, std::int64_t lo, std::int64_t hi) {
        ops::Linear op;
        op.x = x.view().slice(1, lo, hi);
        op.weight = weight.view();
        op.bias = at.has_bias ? bias.view() : TensorView();
        op.y = y.view().slice(1, lo, hi);
        ops::linear_forward(run.context(), op);
    }

    void backward(CpuRun& run, std::int64_t lo, std::int64_t hi) {
        ops::LinearGrad op;
        op.x = x.view().slice(1, lo, hi);
        op.weight = weight.view();
        op.dy = dy.view().slice(1, lo, hi);
        op.dx = at.has_dx ? dx.view().slice(1, lo, hi) : TensorView();
        op.add_to_dx = at.adds_to_dx;
        op.dweight = dweight.view();
        op.dbias = at.has_bias ? dbias.view() : TensorView();
        ops::linear_backward(run.context(), op);
    }

    bool same_results(Lab& other) {
        return same_bits(y.view(), other.y.view()) && same_bits(dx.view(), other.dx.view()) &&
               same_bits(dweight.view(), other.dweight.view()) &&
               same_bits(dbias.view(), other.dbias.view());
    }
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const std::int64_t length : {1, 2, 3, 63, 64, 65, 257}) {
        all.push_back({2, length, 40, 21, true});
    }
    // Every width of the model: in_proj, x_proj, dt_proj, out_proj, the head; and odd ones.
    const std::int64_t widths[][2] = {{128, 512}, {256, 40}, {8, 256}, {256, 128}, {64, 16},
                                      {40, 256},  {5, 80},   {80, 21}, {80, 36},   {1, 1},
                                      {3, 1},     {1, 7},    {7, 2}};
    for (const auto& width : widths) {
        all.push_back({1, 67, width[0], width[1], false, true});
    }
    all.push_back({3, 1, 64, 16, true});
    all.push_back({1, 300, 33, 17, true, false, false});
    all.push_back({2, 0, 8, 8, true});
    all.push_back({0, 4, 8, 8});
    return all;
}

}  // namespace

TEST_CASE("linear agrees with its reference") {
    for (const Case& c : cases()) {
        Lab model(c);
        const Array x = to_array(model.x.view());
        const Array weight = to_array(model.weight.view());
        const Array dy = to_array(model.dy.view());
        const Array bias = c.has_bias ? to_array(model.bias.view()) : Array();
        const Array y = reference::linear(x, weight, bias);
        reference::LinearGrad grad = reference::linear_grad(x, weight, dy);
        add_to(grad.dweight, Array(grad.dweight.shape, 1.0));
        add_to(grad.dbias, Array(grad.dbias.shape, 1.0));
        if (c.adds_to_dx) {
            add_to(grad.dx, Array(grad.dx.shape, 1.0));
        }
        for (const cpu::SimdLevel level : supported_levels()) {
            INFO(replay_line(level, c.text()));
            Lab lab(c);
            CpuRun run(level);
            lab.forward(run, 0, c.length);
            lab.backward(run, 0, c.length);
            CHECK(relative_error(lab.y.view(), y) < kForward);
            CHECK(relative_norm_error(lab.dweight.view(), grad.dweight) < kParameterGradient);
            if (c.has_dx) {
                CHECK(relative_error(lab.dx.view(), grad.dx) < kActivationGradient);
            }
            if (c.has_bias) {
                CHECK(relative_norm_error(lab.dbias.view(), grad.dbias) < kParameterGradient);
            }
            CHECK(lab.y.gaps_untouched());
            CHECK(lab.dx.gaps_untouched());
            CHECK(run.step().in_use() == 0);
        }
    }
}

TEST_CASE("linear's reference backward is the gradient of its forward") {
    Array x = to_array(normal_tensor({2, 3, 4}, 1, 1).view());
    Array weight = to_array(normal_tensor({5, 4}, 1, 2).view());
    Array bias = to_array(normal_tensor({5}, 1, 3).view());
    const Array dy = to_array(normal_tensor({2, 3, 5}, 1, 4).view());
    const auto loss = [&] { return inner_product(reference::linear(x, weight, bias), dy); };
    const reference::LinearGrad grad = reference::linear_grad(x, weight, dy);
    CHECK(relative_error(central_differences(x, loss), grad.dx) < kFiniteDifference);
    CHECK(relative_error(central_differences(weight, loss), grad.dweight) < kFiniteDifference);
    CHECK(relative_error(central_differences(bias, loss), grad.dbias) < kFiniteDifference);
}

TEST_CASE("a row of linear has the same bits at every chunk length") {
    for (const std::int64_t inputs : {8, 40, 64, 128, 256, 700}) {
        for (const std::int64_t outputs : {1, 2, 16, 21, 36, 40, 256}) {
            for (const cpu::SimdLevel level : supported_levels()) {
                const Case c{2, 67, inputs, outputs, true};
                Lab whole(c);
                CpuRun run(level);
                whole.forward(run, 0, c.length);
                whole.backward(run, 0, c.length);
                for (const std::int64_t chunk : {1, 3, 64}) {
                    INFO(replay_line(level, c.text(), " chunk ", chunk));
                    Lab lab(c);
                    for (std::int64_t lo = 0; lo < c.length; lo += chunk) {
                        const std::int64_t hi = std::min(lo + chunk, c.length);
                        lab.forward(run, lo, hi);
                        lab.backward(run, lo, hi);
                    }
                    CHECK(same_bits(lab.y.view(), whole.y.view()));
                    CHECK(same_bits(lab.dx.view(), whole.dx.view()));
                }
            }
        }
    }
}

TEST_CASE("gradients of linear have the same bits for chunks of whole tiles, right to left") {
    const Case c{3, 1100, 40, 21, true};
    for (const cpu::SimdLevel level : supported_levels()) {
        CpuRun run(level);
        Lab whole(c);
        whole.backward(run, 0, c.length);
        const std::int64_t tile = run.context().table.gradient_tile;
        for (const std::int64_t chunk : {tile, 2 * tile, 3 * tile}) {
            INFO(replay_line(level, c.text(), " chunk ", chunk));
            Lab lab(c);
            for (std::int64_t lo = (c.length - 1) / chunk * chunk; lo >= 0; lo -= chunk) {
                lab.backward(run, lo, std::min(lo + chunk, c.length));
            }
            CHECK(lab.same_results(whole));
        }
    }
}

TEST_CASE("linear has the same bits for every number of threads") {
    const Case c{2, 700, 80, 100, true};
    for (const cpu::SimdLevel level : supported_levels()) {
        Lab one(c);
        CpuRun single(level);
        one.forward(single, 0, c.length);
        one.backward(single, 0, c.length);
        for (const int threads : {2, 3, 7}) {
            INFO(replay_line(level, c.text(), " threads ", threads));
            Lab lab(c);
            CpuRun run(level, threads);
            lab.forward(run, 0, c.length);
            lab.backward(run, 0, c.length);
            CHECK(lab.same_results(one));
        }
    }
}
