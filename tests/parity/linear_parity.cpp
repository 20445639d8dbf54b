#include "kernels/ops/linear.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/reference/linear.hpp"
#include "tests/support/tensor_tools.hpp"

#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

std::vector<Backend> tested_backends() {
    return backends("linear", &ops::OpTable::linear_forward, &ops::OpTable::linear_backward);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Case {
    std::int64_t batch, length, inputs, outputs;
    bool has_bias = false;
    bool adds_to_dx = false;
    bool has_dx = true;
    std::uint64_t seed = 1;
    bool aligned = true;  // rows, to 8 elements

    std::int64_t gap(std::int64_t odd) const { return aligned ? kAlignedGap : odd; }

    std::string text() const {
        return concat("linear [", batch, ", ", length, ", ", inputs, "] -> ", outputs,
                      has_bias ? " bias" : "", adds_to_dx ? " add" : "", has_dx ? "" : " no dx",
                      " seed ", seed, aligned ? "" : " unaligned");
    }
};

/// Those that can give f32 from bf16, as a model's logits.
std::vector<Backend> wide_backends() {
    std::vector<Backend> wide;
    if (!device_backends("linear", &ops::OpTable::linear_forward).empty()) {
        wide.push_back({cuda_mirror(Mirror::bf16_to_wide), true, DType::bf16});
    }
    return wide;
}

/// Arguments and results of one case. Rows lie apart, in gaps that hold NaN; dx starts as NaN, or
/// as ones where it is added to.
struct Lab {
    Case at;
    StridedTensor x, dy;
    Tensor weight, bias;
    StridedTensor y, dx;
    Tensor dweight, dbias;

    /// bf16 products round their weights as well.
    explicit Lab(const Case& c, DType activations = DType::f32)
        : at(c),
          x(rounded(normal_tensor({c.batch, c.length, c.inputs}, c.seed, 1), activations),
            at.gap(3),
            kNan),
          dy(rounded(normal_tensor({c.batch, c.length, c.outputs}, c.seed, 2), activations),
             5,
             kNan),
          weight(rounded(normal_tensor({c.outputs, c.inputs}, c.seed, 3), activations)),
          bias(normal_tensor({c.outputs}, c.seed, 4)),
          y({c.batch, c.length, c.outputs}, at.gap(2), kNan),
          dx({c.batch, c.length, c.inputs}, at.gap(4), kNan),
          dweight(filled(DType::f64, {c.outputs, c.inputs}, 1.0)),
          dbias(filled(DType::f64, {c.outputs}, 1.0)) {
        if (c.adds_to_dx) {
            fill_with(dx.view(), 1.0);
        }
    }

    void forward(Run& run, std::int64_t lo, std::int64_t hi) {
        ops::Linear op;
        op.x = x.view().slice(1, lo, hi);
        op.weight = weight.view();
        op.bias = at.has_bias ? bias.view() : TensorView();
        op.y = y.view().slice(1, lo, hi);
        ops::linear_forward(run.context(), op);
    }

    void backward(Run& run, std::int64_t lo, std::int64_t hi) {
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

void check_case(const Case& c, const Backend& backend) {
    INFO(replay_line(backend, c.text()));
    Lab lab(c, backend.activations);
    const Array x = to_array(lab.x.view());
    const Array weight = to_array(lab.weight.view());
    const Array y = reference::linear(x, weight, c.has_bias ? to_array(lab.bias.view()) : Array());
    reference::LinearGrad grad = reference::linear_grad(x, weight, to_array(lab.dy.view()));
    add_to(grad.dweight, Array(grad.dweight.shape, 1.0));
    add_to(grad.dbias, Array(grad.dbias.shape, 1.0));
    if (c.adds_to_dx) {
        add_to(grad.dx, Array(grad.dx.shape, 1.0));
    }
    Run run(backend);
    lab.forward(run, 0, c.length);
    lab.backward(run, 0, c.length);
    const Errors errors{backend, "linear"};
    errors.values("y", lab.y.view(), y, forward_bound(backend));
    errors.norms("dweight", lab.dweight.view(), grad.dweight, weight_gradient_bound(backend));
    if (c.has_dx) {
        errors.values("dx", lab.dx.view(), grad.dx, activation_gradient_bound(backend));
    }
    if (c.has_bias) {
        errors.norms("dbias", lab.dbias.view(), grad.dbias);
    }
    CHECK(lab.y.gaps_untouched());
    CHECK(lab.dx.gaps_untouched());
    CHECK(run.step().in_use() == 0);
}

/// With rows that vectors can read, and with others.
void check_against_reference(Case c, const Backend& backend) {
    for (const bool aligned : {true, false}) {
        c.aligned = aligned;
        check_case(c, backend);
    }
}

}  // namespace

TEST_CASE("linear agrees with its reference") {
    for (const Backend& backend : tested_backends()) {
        for (const Case& c : cases()) {
            check_against_reference(c, backend);
        }
    }
}

TEST_CASE("linear agrees with its reference past a gradient tile") {
    for (const Backend& backend : tested_backends()) {
        check_against_reference({2, backend.table->gradient_tile + 77, 7, 5, true}, backend);
    }
}

TEST_CASE("linear gives f32 from bf16 where it is asked to") {
    for (const Backend& backend : wide_backends()) {
        for (const std::int64_t outputs : {16, 21}) {
            const Case c{2, 67, 40, outputs, true};
            INFO(replay_line(backend, c.text()));
            Lab lab(c, DType::bf16);
            Run run(backend);
            lab.forward(run, 0, c.length);
            const Array y = reference::linear(to_array(lab.x.view()), to_array(lab.weight.view()),
                                              to_array(lab.bias.view()));
            Errors{backend, "linear"}.values("y", lab.y.view(), y, kForward);
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
            for (const Backend& backend : tested_backends()) {
                const Case c{2, 67, inputs, outputs, true};
                Lab whole(c);
                Run run(backend);
                whole.forward(run, 0, c.length);
                whole.backward(run, 0, c.length);
                for (const std::int64_t chunk : {1, 3, 64}) {
                    INFO(replay_line(backend, c.text(), " chunk ", chunk));
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
    for (const Backend& backend : tested_backends()) {
        const std::int64_t tile = backend.table->gradient_tile;
        const Case c{2, 3 * tile + 76, 10, 21, true};
        Run run(backend);
        Lab whole(c);
        whole.backward(run, 0, c.length);
        for (const std::int64_t chunk : {tile, 2 * tile, 3 * tile}) {
            INFO(replay_line(backend, c.text(), " chunk ", chunk));
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
    for (const Backend& backend : tested_backends()) {
        Lab one(c);
        Run single(backend);
        one.forward(single, 0, c.length);
        one.backward(single, 0, c.length);
        for (const int threads : thread_counts(backend)) {
            INFO(replay_line(backend, c.text(), " threads ", threads));
            Lab lab(c);
            Run run(backend, threads);
            lab.forward(run, 0, c.length);
            lab.backward(run, 0, c.length);
            CHECK(lab.same_results(one));
        }
    }
}
