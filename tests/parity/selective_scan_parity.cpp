#include "tests/parity/errors.hpp"
#include "tests/parity/selective_scan_lab.hpp"

#include <algorithm>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;
using namespace mambase::test::scan;

namespace {

std::vector<Backend> tested_backends() {
    return backends("selective_scan", &ops::OpTable::selective_scan_forward,
                    &ops::OpTable::selective_scan_backward);
}

constexpr std::int64_t kValid = 23;  // of 40 positions, in the tests of what NaN may reach

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

void check_case(const Case& at, const Backend& backend) {
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
    const double bound = scan_gradient_bound(backend);
    errors.values("y", scan.y.view(), expected.y, forward_bound(backend));
    errors.values("state_out", scan.state_out.view(), expected.state_out, kForward);
    errors.values("dx", scan.dx.view(), grad.dx, bound);
    errors.values("ddt_raw", scan.ddt_raw.view(), grad.ddt_raw, bound);
    if (at.has_z) {
        errors.values("dz", scan.dz.view(), grad.dz, bound);
    }
    errors.values("db", scan.db.view(), grad.db, bound);
    errors.values("dc", scan.dc.view(), grad.dc, bound);
    errors.values("dstate_in", scan.dstate_in.view(), grad.dstate_in,
                  scan_state_gradient_bound(backend));
    errors.norms("da_log", scan.da_log.view(), grad.da_log, scan_state_gradient_bound(backend));
    errors.norms("dd", scan.dd.view(), grad.dd);
    errors.norms("ddt_bias", scan.ddt_bias.view(), grad.ddt_bias,
                 scan_dt_bias_gradient_bound(backend));
    CHECK(scan.gaps_untouched());
    Scan alone(at, backend.activations);  // without `saved`
    run_forward(run, alone);
    CHECK(same_bits(alone.y.view(), scan.y.view()));
    CHECK(same_bits(alone.state_out.view(), scan.state_out.view()));
}

/// With rows that vectors can read, and with others.
void check_against_reference(Case c, const Backend& backend) {
    for (const bool aligned : {true, false}) {
        c.aligned = aligned;
        check_case(c, backend);
    }
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
        const std::int64_t length = backend.table->gradient_tile + 77;
        check_against_reference({2, length, 5, 3, true, true, true, true, 301}, backend);
        check_against_reference({2, length, 16, 16, true, false, false, true, 302}, backend);
    }
}

TEST_CASE("selective_scan: nothing passes into a run that begins with a tile") {
    for (const Backend& backend : tested_backends()) {
        const std::int64_t tile = backend.table->run_tile;
        Scan scan({1, 3 * tile + 50, 8, 3, true, true, false, true, 311}, backend.activations);
        fill_with(scan.dt_bias.view(), -9.0);  // forgets a third in a tile
        // The rounding of a sum over 1/delta positions, about 8,000 here.
        constexpr double kLongMemory = 3e-8 * 8000;
        fill_with(scan.segment.view().slice(1, 0, tile), 1.0);
        fill_with(scan.segment.view().slice(1, tile, 3 * tile + 50), 2.0);
        reference::SelectiveScan expected = scan.reference_op();
        reference::forward(expected);
        for (const bool for_training : {false, true}) {
            INFO(replay_line(backend, scan.at.text(), for_training ? " in training" : ""));
            Run run(backend, 2);
            ops::SelectiveScan op = scan.forward_op();
            op.for_training = for_training;
            ops::selective_scan_forward(run.context(), op);
            const Errors errors{backend, "selective_scan"};
            errors.values("y", scan.y.view(), expected.y,
                          std::max(forward_bound(backend), kLongMemory));
            errors.values("state_out", scan.state_out.view(), expected.state_out, kLongMemory);
        }
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
