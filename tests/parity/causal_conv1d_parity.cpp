#include "kernels/ops/causal_conv1d.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/reference/causal_conv1d.hpp"
#include "tests/support/sequence_tools.hpp"

#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

std::vector<Backend> tested_backends() {
    return backends("causal_conv1d", &ops::OpTable::causal_conv1d_forward,
                    &ops::OpTable::causal_conv1d_backward);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kValid = 23;  // of 40 positions, in the tests of what NaN may reach

struct Case {
    std::int64_t batch, length, channels, taps;
    bool has_bias = true;
    bool has_segment = false;
    bool has_valid = false;
    bool has_state = true;
    std::uint64_t seed = 1;
    bool aligned = true;  // rows, to 8 elements

    std::int64_t gap(std::int64_t odd) const { return aligned ? kAlignedGap : odd; }

    std::string text() const {
        return concat("causal_conv1d [", batch, ", ", length, ", ", channels, "] W ", taps,
                      has_bias ? " bias" : "", has_segment ? " segment" : "",
                      has_valid ? " valid" : "", has_state ? " state" : "", " seed ", seed,
                      aligned ? "" : " unaligned");
    }
};

/// Arguments and results of one case. Rows lie apart, in gaps that hold NaN.
struct Conv {
    Case at;
    StridedTensor x, dy;
    Tensor weight, bias, segment, valid, state_in, dstate_out;
    StridedTensor y, dx;
    Tensor state_out, dstate_in, dweight, dbias;

    explicit Conv(const Case& c, DType activations = DType::f32)
        : at(c),
          x(rounded(normal_tensor(shape(), c.seed, 10), activations), at.gap(3), kNan),
          dy(rounded(normal_tensor(shape(), c.seed, 11), activations), at.gap(2), kNan),
          weight(normal_tensor({c.channels, c.taps}, c.seed, 12)),
          bias(normal_tensor({c.channels}, c.seed, 13)),
          segment(random_segments(c.batch, c.length, c.seed)),
          valid(random_valid(c.batch, c.length, c.seed)),
          state_in(normal_tensor(state_shape(), c.seed, 14)),
          dstate_out(normal_tensor(state_shape(), c.seed, 15)),
          y(shape(), at.gap(5), kNan),
          dx(shape(), at.gap(4), kNan),
          state_out(filled(DType::f32, state_shape(), kNan)),
          dstate_in(filled(DType::f32, state_shape(), kNan)),
          dweight(filled(DType::f64, {c.channels, c.taps}, 1.0)),
          dbias(filled(DType::f64, {c.channels}, 1.0)) {}

    Shape shape() const { return {at.batch, at.length, at.channels}; }
    Shape state_shape() const { return {at.batch, at.taps - 1, at.channels}; }

    ops::CausalConv1d forward_op() {
        ops::CausalConv1d op;
        op.x = x.view();
        op.weight = weight.view();
        op.bias = at.has_bias ? bias.view() : TensorView();
        op.segment = at.has_segment ? segment.view() : TensorView();
        op.valid = at.has_valid ? valid.view() : TensorView();
        op.state_in = at.has_state ? state_in.view() : TensorView();
        op.y = y.view();
        op.state_out = state_out.view();
        return op;
    }

    ops::CausalConv1dGrad backward_op() {
        const ops::CausalConv1d f = forward_op();
        ops::CausalConv1dGrad op;
        op.x = f.x;
        op.weight = f.weight;
        op.bias = f.bias;
        op.segment = f.segment;
        op.valid = f.valid;
        op.state_in = f.state_in;
        op.dy = dy.view();
        op.dstate_out = at.has_state ? dstate_out.view() : TensorView();
        op.dx = dx.view();
        op.dweight = dweight.view();
        op.dbias = at.has_bias ? dbias.view() : TensorView();
        op.dstate_in = dstate_in.view();
        return op;
    }

    reference::CausalConv1d reference_op() {
        const ops::CausalConv1d f = forward_op();
        reference::CausalConv1d op;
        op.x = to_array(f.x);
        op.weight = to_array(f.weight);
        op.bias = to_array(f.bias);
        op.segment = to_array(f.segment);
        op.valid = to_array(f.valid);
        op.state_in = to_array(f.state_in);
        return op;
    }

    reference::CausalConv1dGrad reference_grad() {
        reference::CausalConv1dGrad grad;
        grad.dy = to_array(dy.view());
        grad.dstate_out = at.has_state ? to_array(dstate_out.view()) : Array();
        return grad;
    }
};

void run_both(Run& run, Conv& conv) {
    ops::causal_conv1d_forward(run.context(), conv.forward_op());
    ops::causal_conv1d_backward(run.context(), conv.backward_op());
}

/// Positions [lo, hi) of a forward call.
void run_forward(Run& run,
                 Conv& conv,
                 std::int64_t lo,
                 std::int64_t hi,
                 ConstTensorView state_in,
                 TensorView state_out) {
    ops::CausalConv1d op = conv.forward_op();
    const Tensor valid = valid_of_chunk(conv.valid, lo, hi);
    op.x = positions(op.x, lo, hi);
    op.segment = positions(op.segment, lo, hi);
    op.valid = op.valid ? valid.view() : ConstTensorView();
    op.y = positions(op.y, lo, hi);
    op.state_in = state_in;
    op.state_out = state_out;
    ops::causal_conv1d_forward(run.context(), op);
}

/// Positions [lo, hi) of a backward call; the gradient of the state is taken and left in dstate.
void run_backward(Run& run,
                  Conv& conv,
                  std::int64_t lo,
                  std::int64_t hi,
                  ConstTensorView state_in,
                  TensorView dstate) {
    ops::CausalConv1dGrad op = conv.backward_op();
    const Tensor valid = valid_of_chunk(conv.valid, lo, hi);
    op.x = positions(op.x, lo, hi);
    op.segment = positions(op.segment, lo, hi);
    op.valid = op.valid ? valid.view() : ConstTensorView();
    op.state_in = state_in;
    op.dy = positions(op.dy, lo, hi);
    op.dx = positions(op.dx, lo, hi);
    op.dstate_out = dstate;
    op.dstate_in = dstate;
    ops::causal_conv1d_backward(run.context(), op);
}

void check_same_bits(Conv& a, Conv& b) {
    CHECK(same_bits(a.y.view(), b.y.view()));
    CHECK(same_bits(a.state_out.view(), b.state_out.view()));
    CHECK(same_bits(a.dx.view(), b.dx.view()));
    CHECK(same_bits(a.dweight.view(), b.dweight.view()));
    CHECK(same_bits(a.dbias.view(), b.dbias.view()));
    CHECK(same_bits(a.dstate_in.view(), b.dstate_in.view()));
}

/// The bias of one channel can sum to nearly nothing: its error is measured beside the weights'.
void append_row(Array& to, const Array& from) {
    to.values.insert(to.values.end(), from.values.begin(), from.values.end());
    to.shape = {static_cast<std::int64_t>(to.values.size())};
}

void check_case(const Case& at, const Backend& backend) {
    INFO(replay_line(backend, at.text()));
    Conv conv(at, backend.activations);
    reference::CausalConv1d expected = conv.reference_op();
    reference::CausalConv1dGrad grad = conv.reference_grad();
    reference::forward(expected);
    reference::backward(expected, grad);
    add_to(grad.dweight, Array(grad.dweight.shape, 1.0));
    Run run(backend, 2);
    run_both(run, conv);
    const Errors errors{backend, "causal_conv1d"};
    errors.values("y", conv.y.view(), expected.y, forward_bound(backend));
    errors.values("state_out", conv.state_out.view(), expected.state_out, 0.0);
    errors.values("dx", conv.dx.view(), grad.dx, activation_gradient_bound(backend));
    errors.values("dstate_in", conv.dstate_in.view(), grad.dstate_in, kActivationGradient);
    Array parameters = to_array(conv.dweight.view());
    Array expected_parameters = grad.dweight;
    if (at.has_bias) {
        add_to(grad.dbias, Array(grad.dbias.shape, 1.0));
        append_row(parameters, to_array(conv.dbias.view()));
        append_row(expected_parameters, grad.dbias);
    }
    errors.norms("parameters", parameters, expected_parameters);
    CHECK(conv.y.gaps_untouched());
    CHECK(conv.dx.gaps_untouched());
}

/// With rows that vectors can read, and with others.
void check_against_reference(Case c, const Backend& backend) {
    for (const bool aligned : {true, false}) {
        c.aligned = aligned;
        check_case(c, backend);
    }
}

}  // namespace

TEST_CASE("causal_conv1d agrees with the float64 reference") {
    std::uint64_t seed = 200;
    for (const Backend& backend : tested_backends()) {
        for (const std::int64_t length : {1, 2, 3, 4, 63, 64, 65, 257, 515}) {
            for (const std::int64_t channels : {1, 3, 8, 40}) {
                for (const std::int64_t taps : {2, 3, 4}) {
                    check_against_reference(
                        {2, length, channels, taps, channels != 3, false, false, true, ++seed},
                        backend);
                    check_against_reference({5, length, channels, taps, channels != 8, true, true,
                                             channels != 1, ++seed},
                                            backend);
                }
            }
        }
        check_against_reference({1, 300, 80, 4, true, true, false, true, ++seed}, backend);
        check_against_reference({3, 65, 128, 4, true, false, true, false, ++seed}, backend);
    }
}

TEST_CASE("causal_conv1d agrees with its reference past a gradient tile") {
    for (const Backend& backend : tested_backends()) {
        const std::int64_t tile = backend.table->gradient_tile;
        check_against_reference({2, tile + 77, 5, 4, true, true, true, true, 301}, backend);
    }
}

TEST_CASE("causal_conv1d: gradients of the reference are central differences") {
    for (const std::int64_t length : {1, 2, 3, 9}) {
        INFO(length);
        Conv conv({6, length, 2, 4, true, true, true, true, 7});
        reference::CausalConv1d op = conv.reference_op();
        reference::CausalConv1dGrad grad = conv.reference_grad();
        reference::forward(op);
        reference::backward(op, grad);
        const auto loss = [&] {
            reference::forward(op);
            return inner_product(op.y, grad.dy) + inner_product(op.state_out, grad.dstate_out);
        };
        const auto agrees = [&](Array& x, const Array& gradient) {
            return relative_error(gradient, central_differences(x, loss)) < kFiniteDifference;
        };
        CHECK(agrees(op.x, grad.dx));
        CHECK(agrees(op.weight, grad.dweight));
        CHECK(agrees(op.bias, grad.dbias));
        CHECK(agrees(op.state_in, grad.dstate_in));
    }
}

TEST_CASE("causal_conv1d: chunks of any length give the bits of the whole") {
    for (const Backend& backend : tested_backends()) {
        for (const std::int64_t taps : {2, 3, 4}) {
            Conv whole({4, 300, 21, taps, true, false, true, true, 31});
            Run run(backend);
            run_forward(run, whole, 0, whole.at.length, whole.state_in.view(),
                        whole.state_out.view());
            for (const std::int64_t chunk : {1, 2, 3, 64, 257}) {
                INFO(replay_line(backend, whole.at.text(), " chunk ", chunk));
                Conv parts(whole.at);
                copy_from(parts.state_out.view(), to_array(parts.state_in.view()));
                for (std::int64_t lo = 0; lo < whole.at.length; lo += chunk) {
                    run_forward(run, parts, lo, std::min(lo + chunk, whole.at.length),
                                parts.state_out.view(), parts.state_out.view());
                }
                CHECK(same_bits(parts.y.view(), whole.y.view()));
                CHECK(same_bits(parts.state_out.view(), whole.state_out.view()));
            }
        }
    }
}

TEST_CASE("causal_conv1d: gradients over chunks of whole tiles have the bits of the whole") {
    for (const Backend& backend : tested_backends()) {
        const std::int64_t tile = backend.table->gradient_tile;
        Conv whole({4, 2 * tile + 188, 21, 4, true, false, true, true, 41});
        Run run(backend);
        run_both(run, whole);
        for (const std::int64_t chunk : {tile, 2 * tile}) {
            INFO(replay_line(backend, whole.at.text(), " chunk ", chunk));
            Conv parts(whole.at);
            std::vector<Tensor> states;  // at the start of each chunk
            states.push_back(from_array(DType::f32, to_array(parts.state_in.view())));
            for (std::int64_t lo = 0; lo < whole.at.length; lo += chunk) {
                Tensor next(host_allocator(), DType::f32, parts.state_shape(), "test");
                run_forward(run, parts, lo, std::min(lo + chunk, whole.at.length),
                            states.back().view(), next.view());
                states.push_back(std::move(next));
            }
            copy_from(parts.state_out.view(), to_array(states.back().view()));
            copy_from(parts.dstate_in.view(), to_array(parts.dstate_out.view()));
            for (auto i = static_cast<std::int64_t>(states.size()) - 2; i >= 0; --i) {
                run_backward(run, parts, i * chunk, std::min((i + 1) * chunk, whole.at.length),
                             states[static_cast<std::size_t>(i)].view(), parts.dstate_in.view());
            }
            check_same_bits(parts, whole);
        }
    }
}

TEST_CASE("causal_conv1d: gradients over chunks of 1, 2 and 3 positions agree with the whole") {
    for (const Backend& backend : tested_backends()) {
        Conv whole({4, 12, 9, 4, true, true, true, true, 43});
        fill_with(whole.segment.view(), 1.0);
        fill_with(whole.segment.view().slice(1, 7, 12), 2.0);
        Run run(backend);
        run_both(run, whole);
        for (const std::int64_t chunk : {1, 2, 3}) {
            INFO(replay_line(backend, whole.at.text(), " chunk ", chunk));
            Conv parts(whole.at);
            // The border at 7 lies inside a chunk of 5 to the right of chunks of `chunk`.
            std::vector<std::int64_t> cuts;
            for (std::int64_t lo = 0; lo < 6; lo += chunk) {
                cuts.push_back(lo);
            }
            cuts.push_back(6);
            cuts.push_back(9);
            cuts.push_back(12);
            copy_from(parts.segment.view(), to_array(whole.segment.view()));
            std::vector<Tensor> states;
            states.push_back(from_array(DType::f32, to_array(parts.state_in.view())));
            for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
                Tensor next(host_allocator(), DType::f32, parts.state_shape(), "test");
                run_forward(run, parts, cuts[i], cuts[i + 1], states.back().view(), next.view());
                states.push_back(std::move(next));
            }
            copy_from(parts.state_out.view(), to_array(states.back().view()));
            copy_from(parts.dstate_in.view(), to_array(parts.dstate_out.view()));
            for (std::size_t i = cuts.size() - 1; i-- > 0;) {
                run_backward(run, parts, cuts[i], cuts[i + 1], states[i].view(),
                             parts.dstate_in.view());
            }
            CHECK(same_bits(parts.y.view(), whole.y.view()));
            CHECK(same_bits(parts.state_out.view(), whole.state_out.view()));
            CHECK(same_bits(parts.dx.view(), whole.dx.view()));
            CHECK(same_bits(parts.dstate_in.view(), whole.dstate_in.view()));
            CHECK(relative_norm_error(parts.dweight.view(), to_array(whole.dweight.view())) <
                  kParameterGradient);
            CHECK(relative_norm_error(parts.dbias.view(), to_array(whole.dbias.view())) <
                  kParameterGradient);
        }
    }
}

TEST_CASE("causal_conv1d: bits do not depend on the number of threads") {
    for (const Backend& backend : tested_backends()) {
        Conv one({4, 800, 40, 4, true, true, true, true, 51});
        Run run(backend, 1);
        run_both(run, one);
        for (const int threads : thread_counts(backend)) {
            INFO(replay_line(backend, one.at.text(), " threads ", threads));
            Conv many(one.at);
            Run pool(backend, threads);
            run_both(pool, many);
            check_same_bits(many, one);
        }
    }
}

TEST_CASE("causal_conv1d: NaN in rows past valid and before a border stays there") {
    for (const Backend& backend : tested_backends()) {
        Conv conv({1, 40, 20, 4, true, true, true, true, 61});
        INFO(replay_line(backend, conv.at.text()));
        fill_with(conv.valid.view(), static_cast<double>(kValid));
        fill_with(conv.segment.view(), 1.0);
        fill_with(conv.segment.view().slice(1, 5, 40), 2.0);
        Conv clean(conv.at);
        copy_from(clean.valid.view(), to_array(conv.valid.view()));
        copy_from(clean.segment.view(), to_array(conv.segment.view()));
        fill_with(conv.x.view().slice(1, kValid, 40), kNan);
        fill_with(conv.dy.view().slice(1, kValid, 40), kNan);
        fill_with(conv.x.view().slice(1, 4, 5), kNan);
        Run run(backend);
        run_both(run, conv);
        run_both(run, clean);
        CHECK(same_bits(conv.y.view().slice(1, 5, 40), clean.y.view().slice(1, 5, 40)));
        CHECK(same_bits(conv.dx.view().slice(1, 5, 40), clean.dx.view().slice(1, 5, 40)));
        CHECK(same_bits(conv.state_out.view(), clean.state_out.view()));
        for (StridedTensor* rows : {&conv.y, &conv.dx}) {
            const TensorView rest = rows->view().slice(1, kValid, 40);
            CHECK(relative_error(rest, Array(rest.shape())) == 0.0);
        }
    }
}

TEST_CASE("causal_conv1d: no positions and no lanes pass the state through") {
    for (const Backend& backend : tested_backends()) {
        Run run(backend);
        Conv none({2, 0, 9, 4, true, false, false, true, 91});
        run_both(run, none);
        CHECK(same_bits(none.state_out.view(), none.state_in.view()));
        CHECK(same_bits(none.dstate_in.view(), none.dstate_out.view()));
        Conv no_lanes({0, 4, 9, 4, true, false, false, true, 92});
        run_both(run, no_lanes);
        CHECK(relative_error(no_lanes.dbias.view(), Array({9}, 1.0)) == 0.0);
    }
}

TEST_CASE("causal_conv1d names the field that does not fit") {
    Run run(cpu_backend(cpu::SimdLevel::scalar));
    Conv conv({2, 4, 6, 4});
    const auto message = [&](const ops::CausalConv1d& op) {
        try {
            ops::causal_conv1d_forward(run.context(), op);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::shape);
            return std::string(error.what());
        }
        return std::string();
    };
    ops::CausalConv1d op = conv.forward_op();
    const Tensor wide = filled(DType::f32, {6, 5}, 0.0);
    op.weight = wide.view();
    CHECK(message(op) ==
          "causal_conv1d: weight is [6, 5], expected 2 to 4 taps in the last dimension");
    op = conv.forward_op();
    op.state_in = conv.x.view();
    CHECK(message(op) == "causal_conv1d: state_in is [2, 4, 6] of f32, expected [2, 3, 6] of f32");
    ops::CausalConv1dGrad grad = conv.backward_op();
    grad.dbias = {};
    CHECK_THROWS_WITH(ops::causal_conv1d_backward(run.context(), grad),
                      "causal_conv1d backward: dbias is missing");
}
