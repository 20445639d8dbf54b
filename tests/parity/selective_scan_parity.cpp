#include "kernels/ops/selective_scan.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/reference/selective_scan.hpp"
#include "tests/support/sequence_tools.hpp"

#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

std::vector<Backend> tested_backends() {
    return backends("selective_scan", &ops::OpTable::selective_scan_forward,
                    &ops::OpTable::selective_scan_backward);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kValid = 23;  // of 40 positions, in the tests of what NaN may reach

struct Case {
    std::int64_t batch, length, inner, state;
    bool has_z = true;
    bool has_segment = false;
    bool has_valid = false;
    bool has_state = true;
    std::uint64_t seed = 1;

    std::string text() const {
        return concat("selective_scan [", batch, ", ", length, ", ", inner, "] N ", state,
                      has_z ? " z" : "", has_segment ? " segment" : "", has_valid ? " valid" : "",
                      has_state ? " state" : "", " seed ", seed);
    }
};

/// Arguments and results of one case. Rows lie apart, in gaps that hold NaN.
struct Scan {
    Case at;
    DType activations;
    StridedTensor x, dt_raw, z, b, c, dy;
    Tensor a_log, d, dt_bias, segment, valid, state_in, dstate_out;
    StridedTensor y, dx, ddt_raw, dz, db, dc;
    Tensor state_out, dstate_in, da_log, dd, ddt_bias;

    explicit Scan(const Case& which, DType type = DType::f32)
        : at(which),
          activations(type),
          x(rows(10, which.inner)),
          dt_raw(rows(11, which.inner)),
          z(rows(12, which.inner)),
          b(rows(13, which.state)),
          c(rows(14, which.state)),
          dy(rows(15, which.inner)),
          a_log(normal_tensor({which.inner, which.state}, which.seed, 20, 1.0, 1.0)),
          d(normal_tensor({which.inner}, which.seed, 21)),
          dt_bias(normal_tensor({which.inner}, which.seed, 22, 1.5, -4.0)),
          segment(random_segments(which.batch, which.length, which.seed)),
          valid(random_valid(which.batch, which.length, which.seed)),
          state_in(normal_tensor(state_shape(), which.seed, 23)),
          dstate_out(normal_tensor(state_shape(), which.seed, 24)),
          y(out(which.inner)),
          dx(out(which.inner)),
          ddt_raw(out(which.inner)),
          dz(out(which.inner)),
          db(out(which.state)),
          dc(out(which.state)),
          state_out(filled(DType::f32, state_shape(), kNan)),
          dstate_in(filled(DType::f32, state_shape(), kNan)),
          da_log(filled(DType::f64, {which.inner, which.state}, 1.0)),
          dd(filled(DType::f64, {which.inner}, 1.0)),
          ddt_bias(filled(DType::f64, {which.inner}, 1.0)) {}

    Shape state_shape() const { return {at.batch, at.inner, at.state}; }
    StridedTensor rows(std::uint64_t stream, std::int64_t width) const {
        return {rounded(normal_tensor({at.batch, at.length, width}, at.seed, stream), activations),
                3, kNan};
    }
    StridedTensor out(std::int64_t width) const { return {{at.batch, at.length, width}, 5, kNan}; }

    ops::SelectiveScan forward_op() {
        ops::SelectiveScan op;
        op.x = x.view();
        op.dt_raw = dt_raw.view();
        op.z = at.has_z ? z.view() : TensorView();
        op.a_log = a_log.view();
        op.b = b.view();
        op.c = c.view();
        op.d = d.view();
        op.dt_bias = dt_bias.view();
        op.segment = at.has_segment ? segment.view() : TensorView();
        op.valid = at.has_valid ? valid.view() : TensorView();
        op.state_in = at.has_state ? state_in.view() : TensorView();
        op.y = y.view();
        op.state_out = state_out.view();
        return op;
    }

    ops::SelectiveScanGrad backward_op() {
        const ops::SelectiveScan f = forward_op();
        ops::SelectiveScanGrad op;
        op.x = f.x;
        op.dt_raw = f.dt_raw;
        op.z = f.z;
        op.a_log = f.a_log;
        op.b = f.b;
        op.c = f.c;
        op.d = f.d;
        op.dt_bias = f.dt_bias;
        op.segment = f.segment;
        op.valid = f.valid;
        op.state_in = f.state_in;
        op.dy = dy.view();
        op.dstate_out = at.has_state ? dstate_out.view() : TensorView();
        op.dx = dx.view();
        op.ddt_raw = ddt_raw.view();
        op.dz = at.has_z ? dz.view() : TensorView();
        op.da_log = da_log.view();
        op.db = db.view();
        op.dc = dc.view();
        op.dd = dd.view();
        op.ddt_bias = ddt_bias.view();
        op.dstate_in = dstate_in.view();
        return op;
    }

    bool gaps_untouched() {
        return y.gaps_untouched() && dx.gaps_untouched() && ddt_raw.gaps_untouched() &&
               dz.gaps_untouched() && db.gaps_untouched() && dc.gaps_untouched();
    }

    reference::SelectiveScan reference_op() {
        const ops::SelectiveScan f = forward_op();
        reference::SelectiveScan op;
        op.x = to_array(f.x);
        op.dt_raw = to_array(f.dt_raw);
        op.z = to_array(f.z);
        op.a_log = to_array(f.a_log);
        op.b = to_array(f.b);
        op.c = to_array(f.c);
        op.d = to_array(f.d);
        op.dt_bias = to_array(f.dt_bias);
        op.segment = to_array(f.segment);
        op.valid = to_array(f.valid);
        op.state_in = to_array(f.state_in);
        return op;
    }

    reference::SelectiveScanGrad reference_grad() {
        reference::SelectiveScanGrad grad;
        grad.dy = to_array(dy.view());
        grad.dstate_out = at.has_state ? to_array(dstate_out.view()) : Array();
        return grad;
    }
};

void run_forward(Run& run, Scan& scan) {
    ops::selective_scan_forward(run.context(), scan.forward_op());
}

/// Forward with `saved`, then backward, over positions [lo, hi); the states of the forward pass
/// are those of `state_in`, the gradient of the state that comes from the right is `dstate_out`.
void run_both(Run& run,
              Scan& scan,
              std::int64_t lo,
              std::int64_t hi,
              ConstTensorView state_in,
              TensorView state_out,
              ConstTensorView dstate_out) {
    const StepMemory::Scope scope(run.step());
    ops::SelectiveScan f = scan.forward_op();
    const Tensor valid = valid_of_chunk(scan.valid, lo, hi);
    f.x = positions(f.x, lo, hi);
    f.dt_raw = positions(f.dt_raw, lo, hi);
    f.z = positions(f.z, lo, hi);
    f.b = positions(f.b, lo, hi);
    f.c = positions(f.c, lo, hi);
    f.segment = positions(f.segment, lo, hi);
    f.valid = f.valid ? valid.view() : ConstTensorView();
    f.state_in = state_in;
    f.y = positions(f.y, lo, hi);
    f.state_out = state_out;
    f.saved = run.step().take(
        DType::u8, {ops::selective_scan_saved_bytes(run.context().table, scan.at.batch, hi - lo,
                                                    scan.at.inner, scan.at.state)});
    ops::selective_scan_forward(run.context(), f);
    ops::SelectiveScanGrad op = scan.backward_op();
    op.x = f.x;
    op.dt_raw = f.dt_raw;
    op.z = f.z;
    op.b = f.b;
    op.c = f.c;
    op.segment = f.segment;
    op.valid = f.valid;
    op.state_in = f.state_in;
    op.saved = f.saved;
    op.dy = positions(op.dy, lo, hi);
    op.dstate_out = dstate_out;
    op.dx = positions(op.dx, lo, hi);
    op.ddt_raw = positions(op.ddt_raw, lo, hi);
    op.dz = positions(op.dz, lo, hi);
    op.db = positions(op.db, lo, hi);
    op.dc = positions(op.dc, lo, hi);
    ops::selective_scan_backward(run.context(), op);
}

void run_both(Run& run, Scan& scan) {
    const ops::SelectiveScanGrad op = scan.backward_op();
    run_both(run, scan, 0, scan.at.length, op.state_in, scan.state_out.view(), op.dstate_out);
}

void check_same_bits(Scan& a, Scan& b) {
    CHECK(same_bits(a.y.view(), b.y.view()));
    CHECK(same_bits(a.state_out.view(), b.state_out.view()));
    CHECK(same_bits(a.dx.view(), b.dx.view()));
    CHECK(same_bits(a.ddt_raw.view(), b.ddt_raw.view()));
    CHECK(same_bits(a.dz.view(), b.dz.view()));
    CHECK(same_bits(a.db.view(), b.db.view()));
    CHECK(same_bits(a.dc.view(), b.dc.view()));
    CHECK(same_bits(a.dstate_in.view(), b.dstate_in.view()));
    CHECK(same_bits(a.da_log.view(), b.da_log.view()));
    CHECK(same_bits(a.dd.view(), b.dd.view()));
    CHECK(same_bits(a.ddt_bias.view(), b.ddt_bias.view()));
}

void check_against_reference(const Case& at, const Backend& backend) {
    INFO(replay_line(backend, at.text()));
    Scan scan(at, backend.activations);
    reference::SelectiveScan expected = scan.reference_op();
    reference::SelectiveScanGrad grad = scan.reference_grad();
    reference::forward(expected);
    reference::backward(expected, grad);
    for (Array* sum : {&grad.da_log, &grad.dd, &grad.ddt_bias}) {
        add_to(*sum, Array(sum->shape, 1.0));
    }
    Run run(backend, 2);
    run_both(run, scan);
    const Errors errors{backend, "selective_scan"};
    const double bound = activation_gradient_bound(backend);
    errors.values("y", scan.y.view(), expected.y, forward_bound(backend));
    errors.values("state_out", scan.state_out.view(), expected.state_out, kForward);
    errors.values("dx", scan.dx.view(), grad.dx, bound);
    errors.values("ddt_raw", scan.ddt_raw.view(), grad.ddt_raw, bound);
    if (at.has_z) {
        errors.values("dz", scan.dz.view(), grad.dz, bound);
    }
    errors.values("db", scan.db.view(), grad.db, bound);
    errors.values("dc", scan.dc.view(), grad.dc, bound);
    errors.values("dstate_in", scan.dstate_in.view(), grad.dstate_in, kActivationGradient);
    errors.norms("da_log", scan.da_log.view(), grad.da_log);
    errors.norms("dd", scan.dd.view(), grad.dd);
    errors.norms("ddt_bias", scan.ddt_bias.view(), grad.ddt_bias);
    CHECK(scan.gaps_untouched());
    Scan alone(at, backend.activations);  // without `saved`
    run_forward(run, alone);
    CHECK(same_bits(alone.y.view(), scan.y.view()));
    CHECK(same_bits(alone.state_out.view(), scan.state_out.view()));
}

}  // namespace

TEST_CASE("selective_scan agrees with the float64 reference") {
    std::uint64_t seed = 100;
    for (const Backend& backend : tested_backends()) {
        for (const std::int64_t length : {1, 2, 3, 63, 64, 65, 257}) {
            for (const std::int64_t inner : {1, 3, 8, 40}) {
                const std::int64_t state = inner == 8 ? 16 : inner == 3 ? 1 : inner == 1 ? 8 : 5;
                check_against_reference({2, length, inner, state, true, false, false, true, ++seed},
                                        backend);
                check_against_reference(
                    {4, length, inner, state, inner != 8, true, true, inner != 3, ++seed}, backend);
            }
        }
        check_against_reference({1, 130, 80, 16, true, true, false, true, ++seed}, backend);
        check_against_reference({3, 65, 128, 16, true, false, true, false, ++seed}, backend);
    }
}

TEST_CASE("selective_scan agrees with its reference past a gradient tile") {
    for (const Backend& backend : tested_backends()) {
        check_against_reference(
            {2, backend.table->gradient_tile + 77, 5, 3, true, true, true, true, 301}, backend);
    }
}

TEST_CASE("selective_scan: gradients of the reference are central differences") {
    Scan scan({3, 5, 2, 3, true, true, true, true, 7});
    reference::SelectiveScan op = scan.reference_op();
    reference::SelectiveScanGrad grad = scan.reference_grad();
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
    CHECK(agrees(op.dt_raw, grad.ddt_raw));
    CHECK(agrees(op.z, grad.dz));
    CHECK(agrees(op.a_log, grad.da_log));
    CHECK(agrees(op.b, grad.db));
    CHECK(agrees(op.c, grad.dc));
    CHECK(agrees(op.d, grad.dd));
    CHECK(agrees(op.dt_bias, grad.ddt_bias));
    CHECK(agrees(op.state_in, grad.dstate_in));
}

TEST_CASE("selective_scan: chunks of any length give the bits of the whole") {
    for (const Backend& backend : tested_backends()) {
        // A device computes tiles of a call beside each other: its chunks are whole tiles.
        const std::int64_t tile = backend.table->gradient_tile;
        using Chunks = std::vector<std::int64_t>;
        const auto chunks = backend.is_device ? Chunks{tile, 2 * tile} : Chunks{1, 3, 64};
        Scan whole({3, chunks.back() * 2 + 22, 20, 5, true, false, true, true, 31});
        Run run(backend);
        run_forward(run, whole);
        for (const std::int64_t chunk : chunks) {
            INFO(replay_line(backend, whole.at.text(), " chunk ", chunk));
            Scan parts(whole.at);
            copy_from(parts.state_out.view(), to_array(parts.state_in.view()));
            for (std::int64_t lo = 0; lo < whole.at.length; lo += chunk) {
                const std::int64_t hi = std::min(lo + chunk, whole.at.length);
                ops::SelectiveScan op = parts.forward_op();
                const Tensor valid = valid_of_chunk(parts.valid, lo, hi);
                op.x = positions(op.x, lo, hi);
                op.dt_raw = positions(op.dt_raw, lo, hi);
                op.z = positions(op.z, lo, hi);
                op.b = positions(op.b, lo, hi);
                op.c = positions(op.c, lo, hi);
                op.valid = valid.view();
                op.y = positions(op.y, lo, hi);
                op.state_in = op.state_out;
                ops::selective_scan_forward(run.context(), op);
            }
            CHECK(same_bits(parts.y.view(), whole.y.view()));
            CHECK(same_bits(parts.state_out.view(), whole.state_out.view()));
        }
    }
}

TEST_CASE("selective_scan: gradients over chunks of whole tiles have the bits of the whole") {
    for (const Backend& backend : tested_backends()) {
        const std::int64_t tile = backend.table->gradient_tile;
        Scan whole({3, 2 * tile + 188, backend.is_device ? 9 : 36, 4, true, false, true, true, 41});
        Run run(backend);
        run_both(run, whole);
        for (const std::int64_t chunk : {tile, 2 * tile}) {
            INFO(replay_line(backend, whole.at.text(), " chunk ", chunk));
            Scan parts(whole.at);
            std::vector<Tensor> states;  // at the start of each chunk
            states.push_back(from_array(DType::f32, to_array(parts.state_in.view())));
            for (std::int64_t lo = 0; lo + chunk < whole.at.length; lo += chunk) {
                Scan scratch(whole.at);
                Tensor next(host_allocator(), DType::f32, scratch.state_shape(), "test");
                run_both(run, scratch, lo, lo + chunk, states.back().view(), next.view(), {});
                states.push_back(std::move(next));
            }
            copy_from(parts.dstate_in.view(), to_array(parts.dstate_out.view()));
            for (auto i = static_cast<std::int64_t>(states.size()) - 1; i >= 0; --i) {
                const std::int64_t hi = std::min((i + 1) * chunk, whole.at.length);
                Tensor& state = states[static_cast<std::size_t>(i)];
                run_both(run, parts, i * chunk, hi, state.view(),
                         hi == whole.at.length ? parts.state_out.view() : state.view(),
                         parts.dstate_in.view());
            }
            check_same_bits(parts, whole);
        }
    }
}

TEST_CASE("selective_scan: bits do not depend on the number of threads") {
    for (const Backend& backend : tested_backends()) {
        Scan one({3, 300, 72, 6, true, true, true, true, 51});
        Run run(backend, 1);
        run_both(run, one);
        for (const int threads : thread_counts(backend)) {
            INFO(replay_line(backend, one.at.text(), " threads ", threads));
            Scan many(one.at);
            Run pool(backend, threads);
            run_both(pool, many);
            check_same_bits(many, one);
        }
    }
}

TEST_CASE("selective_scan: a lane is the same alone and beside others") {
    for (const Backend& backend : tested_backends()) {
        Scan all({4, 90, 40, 5, true, true, true, true, 61});
        Run run(backend);
        run_forward(run, all);
        for (std::int64_t lane = 0; lane < all.at.batch; ++lane) {
            INFO(replay_line(backend, all.at.text(), " lane ", lane));
            Scan alone(all.at);
            ops::SelectiveScan op = alone.forward_op();
            for (ConstTensorView* view :
                 {&op.x, &op.dt_raw, &op.z, &op.b, &op.c, &op.segment, &op.valid, &op.state_in}) {
                *view = view->slice(0, lane, lane + 1);
            }
            op.y = op.y.slice(0, lane, lane + 1);
            op.state_out = op.state_out.slice(0, lane, lane + 1);
            ops::selective_scan_forward(run.context(), op);
            CHECK(same_bits(op.y, all.y.view().slice(0, lane, lane + 1)));
            CHECK(same_bits(op.state_out, all.state_out.view().slice(0, lane, lane + 1)));
        }
    }
}

TEST_CASE("selective_scan: NaN in rows past valid and before a border stays there") {
    for (const Backend& backend : tested_backends()) {
        Scan scan({1, 40, 20, 4, true, true, true, true, 71});
        INFO(replay_line(backend, scan.at.text()));
        fill_with(scan.valid.view(), static_cast<double>(kValid));
        fill_with(scan.segment.view(), 1.0);
        fill_with(scan.segment.view().slice(1, 5, 40), 2.0);
        Scan clean(scan.at);
        copy_from(clean.valid.view(), to_array(scan.valid.view()));
        copy_from(clean.segment.view(), to_array(scan.segment.view()));
        for (StridedTensor* rows : {&scan.x, &scan.dt_raw, &scan.z, &scan.b, &scan.c, &scan.dy}) {
            fill_with(rows->view().slice(1, kValid, 40), kNan);
        }
        fill_with(scan.x.view().slice(1, 2, 3), kNan);
        Run run(backend);
        run_both(run, scan);
        run_both(run, clean);
        CHECK(same_bits(scan.y.view().slice(1, 5, 40), clean.y.view().slice(1, 5, 40)));
        CHECK(same_bits(scan.dx.view().slice(1, 5, 40), clean.dx.view().slice(1, 5, 40)));
        CHECK(same_bits(scan.db.view().slice(1, 5, 40), clean.db.view().slice(1, 5, 40)));
        CHECK(same_bits(scan.state_out.view(), clean.state_out.view()));
        for (StridedTensor* rows :
             {&scan.y, &scan.dx, &scan.ddt_raw, &scan.dz, &scan.db, &scan.dc}) {
            const Array rest = to_array(rows->view().slice(1, kValid, 40));
            CHECK(relative_error(rest, Array(rest.shape)) == 0.0);
        }
    }
}

TEST_CASE("selective_scan: state_out may be state_in, dstate_in may be dstate_out") {
    for (const Backend& backend : tested_backends()) {
        Scan apart({3, 70, 40, 5, true, false, true, true, 81});
        INFO(replay_line(backend, apart.at.text()));
        Scan same(apart.at);
        Run run(backend, 3);
        run_both(run, apart);
        run_both(run, same, 0, same.at.length, same.state_in.view(), same.state_in.view(),
                 same.dstate_out.view());
        CHECK(same_bits(same.state_in.view(), apart.state_out.view()));
        Scan grad(apart.at);
        copy_from(grad.dstate_in.view(), to_array(grad.dstate_out.view()));
        run_both(run, grad, 0, grad.at.length, grad.state_in.view(), grad.state_out.view(),
                 grad.dstate_in.view());
        check_same_bits(grad, apart);
    }
}

TEST_CASE("selective_scan: no positions and no lanes pass the state through") {
    for (const Backend& backend : tested_backends()) {
        Run run(backend);
        Scan none({2, 0, 9, 3, true, false, false, true, 91});
        run_both(run, none);
        CHECK(same_bits(none.state_out.view(), none.state_in.view()));
        CHECK(same_bits(none.dstate_in.view(), none.dstate_out.view()));
        Scan no_lanes({0, 4, 9, 3, true, false, false, true, 92});
        run_both(run, no_lanes);
        CHECK(relative_error(no_lanes.dd.view(), Array({9}, 1.0)) == 0.0);
    }
}

TEST_CASE("selective_scan names the field that does not fit") {
    Scan scan({2, 4, 6, 3});
    Run run(cpu_backend(cpu::SimdLevel::scalar));
    const auto message = [&](const ops::SelectiveScan& op) {
        try {
            ops::selective_scan_forward(run.context(), op);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::shape);
            return std::string(error.what());
        }
        return std::string();
    };
    ops::SelectiveScan op = scan.forward_op();
    op.b = scan.x.view();
    CHECK(message(op) == "selective_scan: b is [2, 4, 6] of f32, expected [2, 4, 3] of f32");
    op = scan.forward_op();
    op.dt_bias = {};
    CHECK(message(op) == "selective_scan: dt_bias is missing");
    op = scan.forward_op();
    const Tensor valid = filled(DType::i64, {2}, 5.0);
    op.valid = valid.view();
    CHECK(message(op) == "valid of lane 0 is 5, expected 0 to 4");
    auto grad = scan.backward_op();
    CHECK_THROWS_WITH(ops::selective_scan_backward(run.context(), grad),
                      "selective_scan backward: saved is missing");
    grad.dz = {};
    CHECK_THROWS_WITH(ops::selective_scan_backward(run.context(), grad),
                      "selective_scan backward: dz is missing");
}
