// Tensors past 2^31 elements, in bf16 on a card: rows that repeat, so that each must have the bits
// of the row a period before, and the first period is compared with float64; where values flow
// along the sequence, sampled channels over its whole length and all channels of the last rows.
// The same checks run on a few rows on the CPU.
#include "kernels/ops/op_table.hpp"
#include "tests/parity/large_extents.hpp"
#include "tests/parity/large_scan.hpp"
#include "tests/support/reference/causal_conv1d.hpp"
#include "tests/support/reference/cross_entropy.hpp"
#include "tests/support/reference/embedding.hpp"
#include "tests/support/reference/linear.hpp"
#include "tests/support/reference/pool.hpp"
#include "tests/support/reference/rms_norm.hpp"

#include <chrono>
#include <cstdio>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;
using namespace mambase::test::large;

namespace {

/// f64 sums over all rows, in another order than the reference's.
constexpr double kLongDoubleSum = 1e-10;

void check_rms_norm(Lab& lab, const Extents& at) {
    const Periodic hidden = lab.periodic(at, lab.type(), at.width, 1);
    const Periodic residual = lab.periodic(at, DType::f32, at.width, 2);
    const Periodic dy = lab.periodic(at, lab.type(), at.width, 3);
    const Tensor weights = normal_tensor({at.width}, 1, 4);
    const Tensor weight = lab.up(weights.view());
    Tensor stream = lab.make(DType::f32, at.shape(at.width));
    Tensor y = lab.make(lab.type(), at.shape(at.width));
    Tensor rstd = lab.make(DType::f32, {at.lanes, at.length});
    ops::rms_norm_forward(lab.context(), {.hidden = hidden.values.view(),
                                          .residual_in = residual.values.view(),
                                          .weight = weight.view(),
                                          .residual_out = stream.view(),
                                          .y = y.view(),
                                          .rstd = rstd.view()});
    const auto forward = [&](std::int64_t rows) {
        return reference::rms_norm(hidden.first(rows), residual.first(rows),
                                   to_array(weights.view()), 1e-5F);
    };
    const reference::RmsNorm expected = forward(kPeriod);
    lab.check_rows("rms_norm", "residual_out", stream.view(), expected.residual_out, kForward);
    lab.check_rows("rms_norm", "y", y.view(), expected.y, forward_bound(lab.backend()));
    lab.check_rows("rms_norm", "rstd", rstd.view(), expected.rstd, kForward);

    Tensor dx = lab.make(DType::f32, at.shape(at.width));
    Tensor dx_bf16 = lab.type() == DType::bf16 ? std::move(y) : Tensor();
    Tensor dweight = lab.zeros(DType::f64, {at.width});
    ops::rms_norm_backward(lab.context(), {.residual_out = stream.view(),
                                           .weight = weight.view(),
                                           .rstd = rstd.view(),
                                           .dy = dy.values.view(),
                                           .dresidual_out = residual.values.view(),
                                           .dx = dx.view(),
                                           .dx_bf16 = dx_bf16 ? dx_bf16.view() : TensorView(),
                                           .dweight = dweight.view()});
    const auto backward = [&](std::int64_t rows) {
        return reference::rms_norm_grad(forward(rows), to_array(weights.view()), dy.first(rows),
                                        residual.first(rows));
    };
    lab.check_rows("rms_norm", "dx", dx.view(), backward(kPeriod).dx, kActivationGradient);
    if (dx_bf16) {
        lab.check_rows("rms_norm", "dx_bf16", dx_bf16.view(), backward(kPeriod).dx,
                       activation_gradient_bound(lab.backend()));
    }
    lab.errors("rms_norm")
        .norms("dweight", lab.down(dweight.view()),
               over_all(at.rows(), [&](std::int64_t rows) { return backward(rows).dweight; }));
}

void check_embedding(Lab& lab, const Extents& at) {
    constexpr std::int64_t kEntries = 16;
    const Periodic ids = lab.ids(at, kEntries, 1);
    const Periodic dy = lab.periodic(at, lab.type(), at.width, 2);
    const Tensor entries = normal_tensor({kEntries, at.width}, 1, 3);
    const Tensor table = lab.up(entries.view());
    Tensor y = lab.make(lab.type(), at.shape(at.width));
    Tensor dtable = lab.zeros(DType::f64, {kEntries, at.width});
    const ConstTensorView of_rows = ids.values.view().reshape({at.lanes, at.length});
    ops::embedding_forward(lab.context(), {.ids = of_rows, .table = table.view(), .y = y.view()});
    ops::embedding_backward(lab.context(),
                            {.ids = of_rows, .dy = dy.values.view(), .dtable = dtable.view()});
    lab.check_rows("embedding", "y", y.view(),
                   reference::embedding(ids.array(), to_array(entries.view())),
                   forward_bound(lab.backend()));
    const auto sums = [&](std::int64_t rows) {
        return reference::embedding_grad(ids.first(rows), dy.first(rows), {kEntries, at.width});
    };
    lab.errors("embedding").norms("dtable", lab.down(dtable.view()), over_all(at.rows(), sums));
}

void check_cast(Lab& lab, const Extents& at) {
    const Periodic x = lab.periodic(at, DType::f32, at.width, 1);
    const DType types[] = {lab.type() == DType::bf16 ? DType::bf16 : DType::f64, DType::f32};
    Tensor there = lab.make(types[0], at.shape(at.width));
    Tensor back = lab.make(types[1], at.shape(at.width));
    ops::cast(lab.context(), {.x = x.values.view(), .y = there.view()});
    ops::cast(lab.context(), {.x = there.view(), .y = back.view()});
    const Tensor narrow = from_array(types[0], x.array());
    lab.check_rows("cast", "there", there.view(), to_array(narrow.view()), 0.0);
    lab.check_rows("cast", "back", back.view(), to_array(narrow.view()), 0.0);
    Tensor sum = lab.zeros(DType::f64, {1});
    ops::norm_sq(lab.context(),
                 {.x = x.values.view().reshape({at.rows() * at.width}), .sum = sum.view()});
    const auto squares = [&](std::int64_t rows) {
        const Array values = x.first(rows);
        return Array({1}, inner_product(values, values));
    };
    lab.errors("norm_sq").norms("sum", lab.down(sum.view()), over_all(at.rows(), squares),
                                kLongDoubleSum);
}

/// Wide in, narrow out, or the other way round.
void check_linear(Lab& lab, const Extents& at, std::int64_t inputs, std::int64_t outputs) {
    const Periodic x = lab.periodic(at, lab.type(), inputs, 1);
    const Periodic dy = lab.periodic(at, lab.type(), outputs, 2);
    const Tensor weights = rounded(normal_tensor({outputs, inputs}, 1, 3), lab.type());
    const Tensor weight = lab.up(weights.view());
    Tensor y = lab.make(lab.type(), at.shape(outputs));
    Tensor dx = lab.make(lab.type(), at.shape(inputs));
    Tensor dweight = lab.zeros(DType::f64, {outputs, inputs});
    ops::linear_forward(lab.context(),
                        {.x = x.values.view(), .weight = weight.view(), .bias = {}, .y = y.view()});
    ops::linear_backward(lab.context(), {.x = x.values.view(),
                                         .weight = weight.view(),
                                         .dy = dy.values.view(),
                                         .dx = dx.view(),
                                         .dweight = dweight.view(),
                                         .dbias = {}});
    const Array by = to_array(weights.view());
    const auto grad = [&](std::int64_t rows) {
        return reference::linear_grad(x.first(rows), by, dy.first(rows));
    };
    lab.check_rows("linear", "y", y.view(), reference::linear(x.array(), by, {}),
                   forward_bound(lab.backend()));
    lab.check_rows("linear", "dx", dx.view(), grad(kPeriod).dx,
                   activation_gradient_bound(lab.backend()));
    lab.errors("linear").norms(
        "dweight", lab.down(dweight.view()),
        over_all(at.rows(), [&](std::int64_t rows) { return grad(rows).dweight; }),
        weight_gradient_bound(lab.backend()));
}

/// One lane.
void check_cross_entropy(Lab& lab, const Extents& at) {
    const Periodic logits = lab.periodic(at, DType::f32, at.width, 1);
    const Periodic targets = lab.ids(at, at.width, 2);
    const Periodic weight = lab.periodic(at, DType::f32, 1, 3);
    const Shape rows{at.lanes, at.length};
    Tensor loss = lab.make(DType::f64, rows);
    Tensor best = lab.make(DType::u8, rows);
    Tensor loss_sum = lab.zeros(DType::f64, {at.lanes});
    Tensor dlogits = lab.make(lab.type(), at.shape(at.width));
    ops::cross_entropy_forward(lab.context(), {.logits = logits.values.view(),
                                               .targets = targets.values.view().reshape(rows),
                                               .weight = weight.values.view().reshape(rows),
                                               .support = {},
                                               .loss = loss.view(),
                                               .best = best.view(),
                                               .loss_sum = loss_sum.view()});
    ops::cross_entropy_backward(lab.context(), {.logits = logits.values.view(),
                                                .targets = targets.values.view().reshape(rows),
                                                .weight = weight.values.view().reshape(rows),
                                                .scale = 0.37,
                                                .dlogits = dlogits.view()});
    const auto forward = [&](std::int64_t count) {
        Array of_rows = targets.first(count);
        of_rows.shape = {1, count};
        Array weights = weight.first(count);
        weights.shape = of_rows.shape;
        return reference::cross_entropy(logits.first(count), of_rows, weights, {});
    };
    const reference::CrossEntropy expected = forward(kPeriod);
    Array of_rows = targets.array();
    of_rows.shape = expected.loss.shape;
    Array weights = weight.array();
    weights.shape = expected.loss.shape;
    lab.check_rows("cross_entropy", "loss", loss.view(), expected.loss, kDouble);
    lab.check_rows("cross_entropy", "best", best.view(), expected.best, 0.0);
    lab.check_rows("cross_entropy", "dlogits", dlogits.view(),
                   reference::cross_entropy_grad(logits.array(), of_rows, weights, 0.37),
                   activation_gradient_bound(lab.backend()));
    lab.errors("cross_entropy")
        .norms("loss_sum", lab.down(loss_sum.view()),
               over_all(at.rows(), [&](std::int64_t count) { return forward(count).loss_sum; }),
               kLongDoubleSum);
}

/// Groups of 1,000 rows; the first and last ones and one between them, of the first and last lane.
void check_pool(Lab& lab, const Extents& at, ops::PoolMode mode) {
    constexpr std::int64_t kGroup = 1000;
    const std::int64_t groups = (at.length + kGroup - 1) / kGroup;
    Tensor group_of(host_allocator(), DType::i32, {at.lanes, at.length}, "test");
    for (std::int64_t row = 0; row < at.rows(); ++row) {
        static_cast<std::int32_t*>(group_of.view().data())[row] =
            static_cast<std::int32_t>(row % at.length / kGroup);
    }
    const Periodic x = lab.periodic(at, lab.type(), at.width, 1);
    const Tensor group = lab.up(std::as_const(group_of).view());
    const Tensor dys = normal_tensor(Shape{at.lanes, groups, at.width}, 1, 2);
    const Tensor dy = lab.up(dys.view());
    Tensor sum = lab.zeros(DType::f64, dys.shape());
    Tensor count = lab.zeros(DType::i64, {at.lanes, groups});
    Tensor pending = lab.zeros(DType::i64, {at.lanes, groups});
    Tensor dx = lab.make(lab.type(), at.shape(at.width));
    ops::pool_forward(lab.context(), {.x = x.values.view(),
                                      .group = group.view(),
                                      .mode = mode,
                                      .sum = sum.view(),
                                      .count = count.view()});
    ops::pool_backward(lab.context(), {.x = x.values.view(),
                                       .group = group.view(),
                                       .mode = mode,
                                       .sum = sum.view(),
                                       .count = count.view(),
                                       .dy = dy.view(),
                                       .dx = dx.view(),
                                       .pending = pending.view()});
    for (const std::int64_t lane : {std::int64_t{0}, at.lanes - 1}) {
        for (const std::int64_t g : {std::int64_t{0}, groups / 2, groups - 1}) {
            INFO("lane " << lane << " group " << g);
            const std::int64_t lo = g * kGroup;
            const std::int64_t hi = std::min(lo + kGroup, at.length);
            const Array rows = x.part(at, lane, lane + 1, lo, hi, range(0, at.width));
            const Array one({1, hi - lo});
            const reference::Pooled expected = reference::pool(rows, one, 1, mode);
            Array value = lab.rows(sum.view(), lane * groups + g, lane * groups + g + 1);
            for (double& element : value.values) {
                element /= mode == ops::PoolMode::mean ? static_cast<double>(hi - lo) : 1.0;
            }
            Array dvalue({1, 1, at.width});
            for (std::int64_t d = 0; d < at.width; ++d) {
                dvalue(0, 0, d) = detail::element(DType::f32, dys.view().data(),
                                                  (lane * groups + g) * at.width + d);
            }
            const Errors errors = lab.errors("pool");
            errors.values("value", value, expected.value, kDouble);
            errors.values("dx", lab.rows(dx.view(), lane * at.length + lo, lane * at.length + hi),
                          reference::pool_grad(rows, one, expected, dvalue, mode),
                          activation_gradient_bound(lab.backend()));
        }
    }
}

void check_conv(Lab& lab, const Extents& at) {
    constexpr std::int64_t kTaps = 4;
    constexpr std::int64_t kLastRows = 300;
    const Periodic x = lab.periodic(at, lab.type(), at.width, 1);
    const Periodic dy = lab.periodic(at, lab.type(), at.width, 2);
    const Tensor weights = normal_tensor({at.width, kTaps}, 1, 3, 0.5);
    const Tensor biases = normal_tensor({at.width}, 1, 4, 0.5);
    const Tensor weight = lab.up(weights.view());
    const Tensor bias = lab.up(biases.view());
    Tensor y = lab.make(lab.type(), at.shape(at.width));
    Tensor dx = lab.make(lab.type(), at.shape(at.width));
    Tensor state = lab.make(DType::f32, {at.lanes, kTaps - 1, at.width});
    Tensor dweight = lab.zeros(DType::f64, {at.width, kTaps});
    Tensor dbias = lab.zeros(DType::f64, {at.width});
    ops::CausalConv1d op;
    op.x = x.values.view();
    op.weight = weight.view();
    op.bias = bias.view();
    op.y = y.view();
    op.state_out = state.view();
    ops::causal_conv1d_forward(lab.context(), op);
    ops::CausalConv1dGrad grad;
    grad.x = op.x;
    grad.weight = op.weight;
    grad.bias = op.bias;
    grad.dy = dy.values.view();
    grad.dx = dx.view();
    grad.dweight = dweight.view();
    grad.dbias = dbias.view();
    ops::causal_conv1d_backward(lab.context(), grad);

    const Errors errors = lab.errors("causal_conv1d");
    // Sampled channels, all rows; then all channels of the last rows of the last lane, which go on
    // from those before them.
    const auto run = [&](std::int64_t lane, std::int64_t lo, std::vector<std::int64_t> channels) {
        reference::CausalConv1d expected;
        expected.x = x.part(at, lane, at.lanes, lo, at.length, channels);
        expected.weight = of_channels(to_array(weights.view()), channels);
        expected.bias = of_channels(to_array(biases.view()), channels);
        expected.state_in =
            lo == 0 ? Array() : x.part(at, lane, at.lanes, lo - kTaps + 1, lo, channels);
        reference::CausalConv1dGrad expected_grad;
        expected_grad.dy = dy.part(at, lane, at.lanes, lo, at.length, channels);
        reference::forward(expected);
        reference::backward(expected, expected_grad);
        return std::pair(std::move(expected), std::move(expected_grad));
    };
    const std::vector<std::int64_t> sampled = {0, at.width / 2 - 1, at.width - 1};
    const auto [whole, whole_grad] = run(0, 0, sampled);
    errors.values("y", lab.channels(y.view(), sampled), whole.y, forward_bound(lab.backend()));
    errors.values("state_out", lab.channels(state.view(), sampled), whole.state_out, 0.0);
    errors.values("dx", lab.channels(dx.view(), sampled), whole_grad.dx,
                  activation_gradient_bound(lab.backend()));
    errors.norms("dweight", of_channels(lab.down(dweight.view()), sampled), whole_grad.dweight);
    errors.norms("dbias", of_channels(lab.down(dbias.view()), sampled), whole_grad.dbias);
    const auto [last, last_grad] = run(at.lanes - 1, at.length - kLastRows, range(0, at.width));
    const auto last_rows = [&](ConstTensorView view) {
        return lab.rows(view, at.rows() - kLastRows, at.rows());
    };
    errors.values("y", last_rows(y.view()), last.y, forward_bound(lab.backend()));
    errors.values("dx", last_rows(dx.view()), last_grad.dx,
                  activation_gradient_bound(lab.backend()));
}

/// On a card whose memory is free, else not, which is said.
template <class Check>
void on_card(const char* what, double gigabytes, const Check& check) {
    if (devices().empty()) {
        std::printf("SKIP: no CUDA device\n");
        return;
    }
    const Place place{devices().front().device, DType::bf16};
    // Before anything is held; what a test gives back stays with the process.
    static const double free = static_cast<double>(queue_of(place).free_bytes()) * 1e-9;
    if (free < gigabytes) {
        std::printf("SKIP: %s past 2^31 elements takes %.0f GB, %.0f are free\n", what, gigabytes,
                    free);
        return;
    }
    Lab lab(place);
    const auto start = std::chrono::steady_clock::now();
    check(lab);
    std::printf("%s past 2^31 elements: %.1f s\n", what,
                std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

constexpr std::int64_t kWidth = 512;
/// One lane, and many short ones; of 512 channels the last rows lie past 2^31 elements.
constexpr Extents kOne{1, (std::int64_t{1} << 22) + 131, kWidth};
constexpr Extents kMany{1029, 4077, kWidth};
static_assert(kOne.rows() * kWidth > std::int64_t{1} << 31);
static_assert(kMany.rows() * kWidth > std::int64_t{1} << 31);

}  // namespace

TEST_CASE("rms_norm past 2^31 elements", "[.gpu][extents]") {
    on_card("rms_norm", 48, [](Lab& lab) { check_rms_norm(lab, kOne); });
}

TEST_CASE("embedding past 2^31 elements", "[.gpu][extents]") {
    on_card("embedding", 14, [](Lab& lab) { check_embedding(lab, kMany); });
}

TEST_CASE("cast and norm_sq past 2^31 elements", "[.gpu][extents]") {
    on_card("cast", 24, [](Lab& lab) { check_cast(lab, kOne); });
}

TEST_CASE("linear past 2^31 elements", "[.gpu][extents]") {
    on_card("linear", 16, [](Lab& lab) {
        check_linear(lab, kOne, kWidth, kWidth / 8);
        check_linear(lab, kMany, kWidth / 8, kWidth);
    });
}

TEST_CASE("cross_entropy past 2^31 elements", "[.gpu][extents]") {
    on_card("cross_entropy", 18, [](Lab& lab) {
        check_cross_entropy(lab, {1, (std::int64_t{1} << 27) + 131, 16});
    });
}

TEST_CASE("pool past 2^31 elements", "[.gpu][extents]") {
    on_card("pool", 14, [](Lab& lab) {
        check_pool(lab, kOne, ops::PoolMode::mean);
        check_pool(lab, kMany, ops::PoolMode::max);
        check_pool(lab, kOne, ops::PoolMode::last);
    });
}

TEST_CASE("causal_conv1d past 2^31 elements", "[.gpu][extents]") {
    on_card("causal_conv1d", 20, [](Lab& lab) {
        check_conv(lab, kOne);
        check_conv(lab, kMany);
    });
}

TEST_CASE("selective_scan past 2^31 elements", "[.gpu][extents]") {
    on_card("selective_scan", 66, [](Lab& lab) {
        check_scan(lab, kOne);
        check_scan(lab, kMany);
    });
}

TEST_CASE("what is checked past 2^31 elements holds on a few rows") {
    Lab lab(Place{});
    for (const Extents& at : {Extents{1, 3 * kPeriod + 131, 24}, Extents{3, 1501, 24}}) {
        INFO(at.lanes << " lanes");
        check_rms_norm(lab, at);
        check_embedding(lab, at);
        check_cast(lab, at);
        check_linear(lab, at, at.width, at.width / 8);
        check_pool(lab, at, ops::PoolMode::mean);
        check_pool(lab, at, ops::PoolMode::max);
        check_pool(lab, at, ops::PoolMode::last);
        check_conv(lab, at);
        check_scan(lab, at);
    }
    check_cross_entropy(lab, {1, 3 * kPeriod + 131, 16});
}
