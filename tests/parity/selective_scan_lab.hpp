// What the tests of the selective scan share: the arguments and results of a case, and runs of it.
#pragma once

#include "kernels/ops/selective_scan.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/reference/selective_scan.hpp"
#include "tests/support/sequence_tools.hpp"

#include <cstdint>
#include <limits>
#include <string>

namespace mambase::test::scan {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Case {
    std::int64_t batch, length, inner, state;
    bool has_z = true;
    bool has_segment = false;
    bool has_valid = false;
    bool has_state = true;
    std::uint64_t seed = 1;
    bool aligned = true;  // rows, to 8 elements

    std::int64_t gap(std::int64_t odd) const { return aligned ? kAlignedGap : odd; }

    std::string text() const {
        return concat("selective_scan [", batch, ", ", length, ", ", inner, "] N ", state,
                      has_z ? " z" : "", has_segment ? " segment" : "", has_valid ? " valid" : "",
                      has_state ? " state" : "", " seed ", seed, aligned ? "" : " unaligned");
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
                at.gap(3), kNan};
    }
    StridedTensor out(std::int64_t width) const {
        return {{at.batch, at.length, width}, at.gap(5), kNan};
    }

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
        op.for_training = true;
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

inline void run_forward(Run& run, Scan& scan) {
    ops::selective_scan_forward(run.context(), scan.forward_op());
}

/// Forward with `saved`, then backward, over positions [lo, hi); the states of the forward pass
/// are those of `state_in`, the gradient of the state that comes from the right is `dstate_out`.
inline void run_both(Run& run,
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

inline void run_both(Run& run, Scan& scan) {
    const ops::SelectiveScanGrad op = scan.backward_op();
    run_both(run, scan, 0, scan.at.length, op.state_in, scan.state_out.view(), op.dstate_out);
}

}  // namespace mambase::test::scan
