#include "kernels/ops/rms_norm.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/reference/embedding.hpp"
#include "tests/support/reference/rms_norm.hpp"
#include "tests/support/tensor_tools.hpp"

#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

std::vector<Backend> tested_backends() {
    return backends("rms_norm", &ops::OpTable::rms_norm_forward, &ops::OpTable::rms_norm_backward);
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr float kEps = 1e-5F;

struct Case {
    std::int64_t batch, length, width;
    bool has_hidden = true;
    bool has_dresidual = true;
    bool in_place = false;
    std::uint64_t seed = 1;
    bool aligned = true;  // rows, to 8 elements

    std::int64_t gap(std::int64_t odd) const { return aligned ? kAlignedGap : odd; }

    std::string text() const {
        return concat("rms_norm [", batch, ", ", length, ", ", width, "]",
                      has_hidden ? " hidden" : "", has_dresidual ? " dresidual" : "",
                      in_place ? " in place" : "", " seed ", seed, aligned ? "" : " unaligned");
    }
};

/// In place: residual_out is residual_in, dx is dresidual_out.
struct Lab {
    Case at;
    StridedTensor hidden, residual, dy, dresidual;
    Tensor weight;
    StridedTensor residual_out, y, dx;
    Tensor rstd, dweight;

    explicit Lab(const Case& c, DType activations = DType::f32)
        : at(c),
          hidden(rounded(normal_tensor(shape(), c.seed, 1), activations), at.gap(1), kNan),
          residual(normal_tensor(shape(), c.seed, 2), at.gap(2), kNan),
          dy(rounded(normal_tensor(shape(), c.seed, 3), activations), at.gap(3), kNan),
          dresidual(normal_tensor(shape(), c.seed, 4), at.gap(4), kNan),
          weight(normal_tensor({c.width}, c.seed, 5, 0.5, 1.0)),
          residual_out(shape(), at.gap(5), kNan),
          y(shape(), at.gap(6), kNan),
          dx(shape(), at.gap(7), kNan),
          rstd(filled(DType::f32, {c.batch, c.length}, kNan)),
          dweight(filled(DType::f64, {c.width}, 1.0)) {}

    Shape shape() const { return {at.batch, at.length, at.width}; }
    StridedTensor& sum() { return at.in_place ? residual : residual_out; }
    StridedTensor& gradient() { return at.in_place ? dresidual : dx; }

    void forward(Run& run, std::int64_t lo, std::int64_t hi) {
        ops::RmsNorm op;
        op.hidden = at.has_hidden ? hidden.view().slice(1, lo, hi) : TensorView();
        op.residual_in = residual.view().slice(1, lo, hi);
        op.weight = weight.view();
        op.eps = kEps;
        op.residual_out = sum().view().slice(1, lo, hi);
        op.y = y.view().slice(1, lo, hi);
        // A slice in time of [B,T] has gaps between lanes; its own tensor has none.
        Tensor part = filled(DType::f32, {at.batch, hi - lo}, kNan);
        op.rstd = part.view();
        ops::rms_norm_forward(run.context(), op);
        copy_from(rstd.view().slice(1, lo, hi), to_array(part.view()));
    }

    void backward(Run& run, std::int64_t lo, std::int64_t hi, TensorView dx_bf16 = {}) {
        ops::RmsNormGrad op;
        op.residual_out = sum().view().slice(1, lo, hi);
        op.weight = weight.view();
        const Tensor part = from_array(DType::f32, to_array(rstd.view().slice(1, lo, hi)));
        op.rstd = part.view();
        op.dy = dy.view().slice(1, lo, hi);
        op.dresidual_out =
            at.has_dresidual || at.in_place ? dresidual.view().slice(1, lo, hi) : TensorView();
        op.dx = gradient().view().slice(1, lo, hi);
        const Tensor narrow_dy = from_array(DType::bf16, to_array(op.dy));
        op.dy = dx_bf16 ? narrow_dy.view() : op.dy;
        op.dx_bf16 = dx_bf16;
        op.dweight = dweight.view();
        ops::rms_norm_backward(run.context(), op);
    }

    /// Forward and backward, from right to left.
    void in_chunks(Run& run, std::int64_t chunk) {
        for (std::int64_t lo = (at.length - 1) / chunk * chunk; lo >= 0; lo -= chunk) {
            forward(run, lo, std::min(lo + chunk, at.length));
            backward(run, lo, std::min(lo + chunk, at.length));
        }
    }

    bool same_results(Lab& other) {
        return same_bits(sum().view(), other.sum().view()) && same_bits(y.view(), other.y.view()) &&
               same_bits(rstd.view(), other.rstd.view()) &&
               same_bits(gradient().view(), other.gradient().view()) &&
               same_bits(dweight.view(), other.dweight.view());
    }
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const std::int64_t length : {1, 2, 3, 63, 64, 65, 257}) {
        all.push_back({2, length, 40});
    }
    for (const std::int64_t width : {2, 3, 8, 17, 64, 80, 128}) {
        all.push_back({1, 5, width});
        all.push_back({2, 5, width, false, false});
        all.push_back({2, 5, width, true, true, true});
        all.push_back({1, 3, width, false, true, true});
    }
    all.push_back({1, 5, 1});  // all of dx but dresidual_out cancels
    all.push_back({2, 0, 8});
    return all;
}

void check_case(const Case& c, const Backend& backend) {
    INFO(replay_line(backend, c.text()));
    Lab lab(c, backend.activations);
    const Array weight = to_array(lab.weight.view());
    const reference::RmsNorm forward =
        reference::rms_norm(c.has_hidden ? to_array(lab.hidden.view()) : Array(),
                            to_array(lab.residual.view()), weight, static_cast<double>(kEps));
    reference::RmsNormGrad grad = reference::rms_norm_grad(
        forward, weight, to_array(lab.dy.view()),
        c.has_dresidual || c.in_place ? to_array(lab.dresidual.view()) : Array());
    add_to(grad.dweight, Array(grad.dweight.shape, 1.0));
    Run run(backend);
    lab.forward(run, 0, c.length);
    lab.backward(run, 0, c.length);
    const Errors errors{backend, "rms_norm"};
    errors.values("residual_out", lab.sum().view(), forward.residual_out, kForward);
    errors.values("y", lab.y.view(), forward.y, forward_bound(backend));
    errors.values("rstd", lab.rstd.view(), forward.rstd, kForward);
    errors.values("dx", lab.gradient().view(), grad.dx, kActivationGradient);
    errors.norms("dweight", lab.dweight.view(), grad.dweight);
    CHECK(lab.sum().gaps_untouched());
    CHECK(lab.y.gaps_untouched());
    CHECK(lab.gradient().gaps_untouched());
}

/// With rows that vectors can read, and with others.
void check_against_reference(Case c, const Backend& backend) {
    for (const bool aligned : {true, false}) {
        c.aligned = aligned;
        check_case(c, backend);
    }
}

}  // namespace

TEST_CASE("rms_norm agrees with its reference") {
    for (const Backend& backend : tested_backends()) {
        for (const Case& c : cases()) {
            check_against_reference(c, backend);
        }
    }
}

TEST_CASE("rms_norm agrees with its reference past a gradient tile") {
    for (const Backend& backend : tested_backends()) {
        check_against_reference({2, backend.table->gradient_tile + 77, 5}, backend);
    }
}

TEST_CASE("rms_norm gives its gradient in bf16 beside that in f32") {
    for (const Backend& backend : tested_backends()) {
        if (backend.activations != DType::bf16) {
            continue;  // bf16 gradients are for bf16 mixers
        }
        const Case c{2, 67, 40};
        Lab lab(c);
        Tensor narrow = filled(DType::bf16, lab.shape(), kNan);
        Run run(backend);
        lab.forward(run, 0, c.length);
        lab.backward(run, 0, c.length, narrow.view());
        const Tensor dx = from_array(DType::bf16, to_array(lab.gradient().view()));
        CHECK(same_bits(narrow.view(), dx.view()));
    }
}

TEST_CASE("rms_norm needs no residual_out") {
    // The widest does not fit the registers of a warp.
    const Case c = GENERATE(Case{2, 5, 40, false}, Case{2, 5, 40, true}, Case{1, 3, 4100, true});
    for (const Backend& backend : tested_backends()) {
        INFO(replay_line(backend, c.text()));
        Run run(backend);
        Lab with(c);
        with.forward(run, 0, c.length);
        Lab without(c);
        ops::RmsNorm op;
        op.hidden = c.has_hidden ? without.hidden.view() : TensorView();
        op.residual_in = without.residual.view();
        op.weight = without.weight.view();
        op.eps = kEps;
        op.y = without.y.view();
        ops::rms_norm_forward(run.context(), op);
        CHECK(same_bits(without.y.view(), with.y.view()));
    }
}

TEST_CASE("rms_norm picks rows of a table by ids as if they had been looked up") {
    const Case c = GENERATE(Case{2, 5, 40, true}, Case{2, 65, 7, false}, Case{1, 3, 4100, true});
    constexpr std::int64_t kEntries = 4;
    const Tensor table = normal_tensor({kEntries, c.width}, 1, 9);
    const Tensor ids = random_ids(DType::u8, {c.batch, c.length}, kEntries, 1, 10);
    for (const Backend& backend : tested_backends()) {
        INFO(replay_line(backend, c.text()));
        Run run(backend);
        Lab plain(c);
        copy_from(plain.residual.view(),
                  reference::embedding(to_array(ids.view()), to_array(table.view())));
        plain.forward(run, 0, c.length);
        Lab picked(c);
        ops::RmsNorm op;
        op.hidden = c.has_hidden ? picked.hidden.view() : TensorView();
        op.residual_in = table.view();
        op.ids = ids.view();
        op.weight = picked.weight.view();
        op.eps = kEps;
        op.residual_out = picked.residual_out.view();
        op.y = picked.y.view();
        ops::rms_norm_forward(run.context(), op);
        CHECK(same_bits(picked.y.view(), plain.y.view()));
        CHECK(same_bits(picked.residual_out.view(), plain.residual_out.view()));
    }
}

TEST_CASE("rms_norm's reference backward is the gradient of its forward") {
    Array hidden = to_array(normal_tensor({2, 3, 4}, 1, 1).view());
    Array residual = to_array(normal_tensor({2, 3, 4}, 1, 2).view());
    Array weight = to_array(normal_tensor({4}, 1, 3).view());
    const Array dy = to_array(normal_tensor({2, 3, 4}, 1, 4).view());
    const Array dresidual = to_array(normal_tensor({2, 3, 4}, 1, 5).view());
    const auto forward = [&] { return reference::rms_norm(hidden, residual, weight, 1e-5); };
    const auto loss = [&] {
        const reference::RmsNorm out = forward();
        return inner_product(out.y, dy) + inner_product(out.residual_out, dresidual);
    };
    const reference::RmsNormGrad grad = reference::rms_norm_grad(forward(), weight, dy, dresidual);
    CHECK(relative_error(central_differences(hidden, loss), grad.dx) < kFiniteDifference);
    CHECK(relative_error(central_differences(residual, loss), grad.dx) < kFiniteDifference);
    CHECK(relative_error(central_differences(weight, loss), grad.dweight) < kFiniteDifference);
}

TEST_CASE("rms_norm: gradients have the same bits for chunks of whole tiles, right to left") {
    for (const Backend& backend : tested_backends()) {
        const std::int64_t tile = backend.table->gradient_tile;
        const Case c{2, 2 * tile + 88, 10};
        Run run(backend);
        Lab whole(c);
        whole.forward(run, 0, c.length);
        whole.backward(run, 0, c.length);
        for (const std::int64_t chunk : {tile, 2 * tile}) {
            INFO(replay_line(backend, c.text(), " chunk ", chunk));
            Lab lab(c);
            lab.in_chunks(run, chunk);
            CHECK(lab.same_results(whole));
        }
    }
}

TEST_CASE("rms_norm has the same bits at every chunk length and number of threads") {
    const Case c{2, 600, 40};
    for (const Backend& backend : tested_backends()) {
        Run run(backend);
        Lab whole(c);
        whole.forward(run, 0, c.length);
        whole.backward(run, 0, c.length);
        for (const std::int64_t chunk : {1, 3, 64, 256}) {
            INFO(replay_line(backend, c.text(), " chunk ", chunk));
            Lab lab(c);
            lab.in_chunks(run, chunk);
            CHECK(same_bits(lab.y.view(), whole.y.view()));
            CHECK(same_bits(lab.dx.view(), whole.dx.view()));
        }
        for (const int threads : thread_counts(backend)) {
            INFO(replay_line(backend, c.text(), " threads ", threads));
            Lab lab(c);
            Run parallel(backend, threads);
            lab.forward(parallel, 0, c.length);
            lab.backward(parallel, 0, c.length);
            CHECK(lab.same_results(whole));
        }
    }
}
