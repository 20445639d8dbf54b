// The CUDA ops that move memory, each against its float64 reference: f32 and bf16, dense rows and
// rows with gaps (vectors, elements one by one), and the same bits in chunks of a gradient tile.
// Usage: cuda_ops_check [PREFIX of the cases to run]
#include "tests/bench/gpu_lab.hpp"
#include "tests/support/reference/causal_conv1d.hpp"
#include "tests/support/reference/cross_entropy.hpp"
#include "tests/support/reference/embedding.hpp"
#include "tests/support/reference/pool.hpp"
#include "tests/support/reference/rms_norm.hpp"
#include "tests/support/sequence_tools.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

using namespace mambase;
using namespace mambase::test;

namespace {

constexpr std::int64_t kTile = 8192;

struct Result {
    std::string name;
    Array got, expected;
    double tolerance;
};
using Results = std::vector<Result>;

/// What a case is: types, gaps between rows, and the chunk of a call.
struct Variant {
    DType dtype;
    std::int64_t gap;
    std::int64_t chunk;
    double rounding() const { return dtype == DType::bf16 ? 4e-3 : 1e-5; }
};

/// Calls use(lo, hi) for the chunks of [0, length), left to right or back.
void chunks(std::int64_t length,
            std::int64_t chunk,
            bool backwards,
            const std::function<void(std::int64_t, std::int64_t)>& use) {
    const std::int64_t count = std::max<std::int64_t>((length + chunk - 1) / chunk, 1);
    for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t lo = (backwards ? count - 1 - i : i) * chunk;
        use(lo, std::min(lo + chunk, length));
    }
}

Results run_embedding(Gpu& gpu,
                      const Variant& v,
                      std::int64_t lanes,
                      std::int64_t length,
                      std::int64_t entries,
                      std::int64_t width) {
    OnDevice ids(gpu, random_ids(DType::u8, {lanes, length}, entries, 1, 1), DType::u8);
    OnDevice table(gpu, normal_tensor({entries, width}, 1, 2), DType::f32);
    OnDevice y(gpu, v.dtype, {lanes, length, width}, std::nan(""), v.gap);
    OnDevice dy(gpu, normal_tensor({lanes, length, width}, 1, 3), v.dtype, v.gap);
    OnDevice dtable(gpu, DType::f64, {entries, width}, 1.0);
    chunks(length, v.chunk, true, [&](std::int64_t lo, std::int64_t hi) {
        const ConstTensorView at = positions(ids.view(), lo, hi);
        ops::embedding_forward(
            gpu.context, {.ids = at, .table = table.view(), .y = positions(y.view(), lo, hi)});
        ops::embedding_backward(
            gpu.context, {.ids = at, .dy = positions(dy.view(), lo, hi), .dtable = dtable.view()});
    });
    Array expected = reference::embedding_grad(ids.input(), dy.input(), {entries, width});
    add_to(expected, Array(expected.shape, 1.0));
    return {{"y", y.output(), reference::embedding(ids.input(), table.input()), v.rounding()},
            {"dtable", dtable.output(), expected, 1e-5}};
}

Results run_rms_norm(
    Gpu& gpu, const Variant& v, std::int64_t lanes, std::int64_t length, std::int64_t width) {
    const Shape shape = {lanes, length, width};
    OnDevice hidden(gpu, normal_tensor(shape, 1, 1), v.dtype, v.gap);
    OnDevice residual(gpu, normal_tensor(shape, 1, 2), DType::f32, v.gap);
    const Array residual_in = residual.input();
    OnDevice weight(gpu, normal_tensor({width}, 1, 3), DType::f32);
    OnDevice y(gpu, v.dtype, shape, std::nan(""), v.gap);
    OnDevice dy(gpu, normal_tensor(shape, 1, 4), v.dtype, v.gap);
    OnDevice dx(gpu, normal_tensor(shape, 1, 5), DType::f32, v.gap);
    const Array dresidual = dx.input();
    OnDevice dx_bf16(gpu, DType::bf16, shape, std::nan(""), v.gap);
    OnDevice dweight(gpu, DType::f64, {width}, 1.0);
    chunks(length, v.chunk, true, [&](std::int64_t lo, std::int64_t hi) {
        OnDevice rstd(gpu, DType::f32, {lanes, hi - lo}, 0.0);
        const TensorView stream = positions(residual.view(), lo, hi);
        ops::rms_norm_forward(gpu.context, {.hidden = positions(hidden.view(), lo, hi),
                                            .residual_in = stream,
                                            .weight = weight.view(),
                                            .residual_out = stream,
                                            .y = positions(y.view(), lo, hi),
                                            .rstd = rstd.view()});
        ops::RmsNormGrad grad;
        grad.residual_out = stream;
        grad.weight = weight.view();
        grad.rstd = rstd.view();
        grad.dy = positions(dy.view(), lo, hi);
        grad.dresidual_out = positions(dx.view(), lo, hi);
        grad.dx = positions(dx.view(), lo, hi);
        grad.dx_bf16 = v.dtype == DType::bf16 ? positions(dx_bf16.view(), lo, hi) : TensorView();
        grad.dweight = dweight.view();
        ops::rms_norm_backward(gpu.context, grad);
        gpu.queue->wait();
    });
    const reference::RmsNorm forward =
        reference::rms_norm(hidden.input(), residual_in, weight.input(), 1e-5F);
    reference::RmsNormGrad grad =
        reference::rms_norm_grad(forward, weight.input(), dy.input(), dresidual);
    add_to(grad.dweight, Array(grad.dweight.shape, 1.0));
    Results results = {{"residual", residual.output(), forward.residual_out, 1e-6},
                       {"y", y.output(), forward.y, v.rounding()},
                       {"dx", dx.output(), grad.dx, 1e-5},
                       {"dweight", dweight.output(), grad.dweight, 1e-5}};
    if (v.dtype == DType::bf16) {
        results.push_back({"dx_bf16", dx_bf16.output(), grad.dx, 4e-3});
    }
    return results;
}

struct ConvCase {
    std::int64_t lanes, length, channels, taps;
    bool has_segment, has_valid;
};

/// The tensors of a case, and its calls.
struct Conv {
    Gpu& gpu;
    const Variant& v;
    const ConvCase& c;
    Shape shape{c.lanes, c.length, c.channels};
    Shape state_shape{c.lanes, c.taps - 1, c.channels};
    OnDevice x{gpu, normal_tensor(shape, 1, 1), v.dtype, v.gap};
    OnDevice weight{gpu, normal_tensor({c.channels, c.taps}, 1, 2, 0.5), DType::f32};
    OnDevice bias{gpu, normal_tensor({c.channels}, 1, 3, 0.5), DType::f32};
    OnDevice segment{gpu, random_segments(c.lanes, c.length, 1), DType::i32};
    Tensor valid = random_valid(c.lanes, c.length, 1);
    OnDevice state{gpu, normal_tensor(state_shape, 1, 4), DType::f32};
    OnDevice y{gpu, v.dtype, shape, std::nan(""), v.gap};
    OnDevice dy{gpu, normal_tensor(shape, 1, 5), v.dtype, v.gap};
    OnDevice dx{gpu, v.dtype, shape, std::nan(""), v.gap};
    OnDevice dstate{gpu, normal_tensor(state_shape, 1, 6), DType::f32};
    OnDevice dweight{gpu, DType::f64, {c.channels, c.taps}, 1.0};
    OnDevice dbias{gpu, DType::f64, {c.channels}, 1.0};
    std::vector<OnDevice> starts{};  // the state at each chunk's start, for the way back

    template <class Op>
    Op inputs(OnDevice& here, std::int64_t lo, std::int64_t hi) {
        Op op;
        op.x = positions(x.view(), lo, hi);
        op.weight = weight.view();
        op.bias = bias.view();
        op.segment = c.has_segment ? positions(segment.view(), lo, hi) : TensorView();
        op.valid = c.has_valid ? here.view() : TensorView();
        return op;
    }

    void forward(std::int64_t lo, std::int64_t hi) {
        OnDevice here(gpu, valid_of_chunk(valid, lo, hi), DType::i64);
        const Array now = state.output();
        starts.emplace_back(gpu, from_array(DType::f64, now), DType::f32);
        auto op = inputs<ops::CausalConv1d>(here, lo, hi);
        op.state_in = state.view();
        op.y = positions(y.view(), lo, hi);
        op.state_out = state.view();
        ops::causal_conv1d_forward(gpu.context, op);
        gpu.queue->wait();
    }

    void backward(std::int64_t lo, std::int64_t hi) {
        OnDevice here(gpu, valid_of_chunk(valid, lo, hi), DType::i64);
        auto op = inputs<ops::CausalConv1dGrad>(here, lo, hi);
        op.state_in = starts[static_cast<std::size_t>(lo / v.chunk)].view();
        op.dy = positions(dy.view(), lo, hi);
        op.dstate_out = dstate.view();
        op.dx = positions(dx.view(), lo, hi);
        op.dweight = dweight.view();
        op.dbias = dbias.view();
        op.dstate_in = dstate.view();
        ops::causal_conv1d_backward(gpu.context, op);
        gpu.queue->wait();
    }
};

Results run_conv(Gpu& gpu, const Variant& v, const ConvCase& c) {
    Conv conv{gpu, v, c};
    reference::CausalConv1d r{conv.x.input(),
                              conv.weight.input(),
                              conv.bias.input(),
                              c.has_segment ? conv.segment.input() : Array(),
                              c.has_valid ? to_array(conv.valid.view()) : Array(),
                              conv.state.input(),
                              {},
                              {}};
    reference::CausalConv1dGrad g{conv.dy.input(), conv.dstate.input(), {}, {}, {}, {}};
    chunks(c.length, v.chunk, false,
           [&](std::int64_t lo, std::int64_t hi) { conv.forward(lo, hi); });
    chunks(c.length, v.chunk, true,
           [&](std::int64_t lo, std::int64_t hi) { conv.backward(lo, hi); });
    reference::forward(r);
    reference::backward(r, g);
    add_to(g.dweight, Array(g.dweight.shape, 1.0));
    add_to(g.dbias, Array(g.dbias.shape, 1.0));
    return {{"y", conv.y.output(), r.y, v.rounding()},
            {"state_out", conv.state.output(), r.state_out, 0.0},
            {"dx", conv.dx.output(), g.dx, v.rounding()},
            {"dweight", conv.dweight.output(), g.dweight, 1e-5},
            {"dbias", conv.dbias.output(), g.dbias, 1e-5},
            {"dstate_in", conv.dstate.output(), g.dstate_in, 1e-5}};
}

Results run_cross_entropy(Gpu& gpu,
                          const Variant& v,
                          std::int64_t lanes,
                          std::int64_t length,
                          std::int64_t vocabulary,
                          bool has_support) {
    const Shape shape = {lanes, length, vocabulary};
    OnDevice logits(gpu, normal_tensor(shape, 1, 1, 3.0), DType::f32, v.gap);
    OnDevice targets(gpu, random_ids(DType::u8, {lanes, length}, vocabulary, 1, 2), DType::u8);
    Tensor weights = normal_tensor({lanes, length}, 1, 3);
    auto* const w = static_cast<float*>(weights.view().data());
    std::transform(w, w + lanes * length, w, [](float x) { return std::max(x, 0.0F); });
    OnDevice weight(gpu, weights, DType::f32);
    Tensor ids = filled(DType::u8, {vocabulary}, 0.0);
    for (std::int64_t i = 0; i < vocabulary; ++i) {
        static_cast<std::uint8_t*>(ids.view().data())[i] = static_cast<std::uint8_t>(i);
    }
    OnDevice support(gpu, ids, DType::u8);
    OnDevice loss(gpu, DType::f64, {lanes, length}, std::nan(""));
    OnDevice best(gpu, DType::u8, {lanes, length}, 255.0);
    OnDevice loss_sum(gpu, DType::f64, {lanes}, 1.0);
    OnDevice dlogits(gpu, v.dtype, shape, std::nan(""), v.gap);
    chunks(length, v.chunk, false, [&](std::int64_t lo, std::int64_t hi) {
        ops::CrossEntropy op;
        op.logits = positions(logits.view(), lo, hi);
        op.targets = positions(targets.view(), lo, hi);
        op.weight = positions(weight.view(), lo, hi);
        op.support = has_support ? support.view() : TensorView();
        op.loss = positions(loss.view(), lo, hi);
        op.best = positions(best.view(), lo, hi);
        op.loss_sum = loss_sum.view();
        ops::cross_entropy_forward(gpu.context, op);
        ops::cross_entropy_backward(gpu.context, {.logits = op.logits,
                                                  .targets = op.targets,
                                                  .weight = op.weight,
                                                  .scale = 0.37,
                                                  .dlogits = positions(dlogits.view(), lo, hi)});
    });
    reference::CrossEntropy r = reference::cross_entropy(
        logits.input(), targets.input(), weight.input(), has_support ? support.input() : Array());
    add_to(r.loss_sum, Array({lanes}, 1.0));
    return {{"loss", loss.output(), r.loss, 1e-13},
            {"best", best.output(), r.best, 0.0},
            {"loss_sum", loss_sum.output(), r.loss_sum, 1e-13},
            {"dlogits", dlogits.output(),
             reference::cross_entropy_grad(logits.input(), targets.input(), weight.input(), 0.37),
             v.rounding()}};
}

Results run_pool(Gpu& gpu,
                 const Variant& v,
                 std::int64_t lanes,
                 std::int64_t length,
                 std::int64_t groups,
                 ops::PoolMode mode) {
    constexpr std::int64_t width = 70;
    Tensor ids = random_ids(DType::i32, {lanes, length}, 5, 1, 1);
    auto* const id = static_cast<std::int32_t*>(ids.view().data());
    for (std::int64_t i = 0; i < lanes * length; ++i) {
        id[i] = id[i] == 0 ? -1 : static_cast<std::int32_t>(i % length * groups / length);
    }
    OnDevice group(gpu, ids, DType::i32);
    OnDevice x(gpu, normal_tensor({lanes, length, width}, 1, 2), v.dtype, v.gap);
    OnDevice sum(gpu, DType::f64, {lanes, groups, width}, 0.0);
    OnDevice count(gpu, DType::i64, {lanes, groups}, 0.0);
    OnDevice pending(gpu, DType::i64, {lanes, groups}, 0.0);
    OnDevice dy(gpu, normal_tensor({lanes, groups, width}, 1, 3), DType::f32);
    OnDevice dx(gpu, v.dtype, {lanes, length, width}, std::nan(""), v.gap);
    chunks(length, v.chunk, false, [&](std::int64_t lo, std::int64_t hi) {
        ops::pool_forward(gpu.context, {.x = positions(x.view(), lo, hi),
                                        .group = positions(group.view(), lo, hi),
                                        .mode = mode,
                                        .sum = sum.view(),
                                        .count = count.view()});
    });
    chunks(length, v.chunk, true, [&](std::int64_t lo, std::int64_t hi) {
        ops::pool_backward(gpu.context, {.x = positions(x.view(), lo, hi),
                                         .group = positions(group.view(), lo, hi),
                                         .mode = mode,
                                         .sum = sum.view(),
                                         .count = count.view(),
                                         .dy = dy.view(),
                                         .dx = positions(dx.view(), lo, hi),
                                         .pending = pending.view()});
    });
    const reference::Pooled r = reference::pool(x.input(), group.input(), groups, mode);
    Array value = sum.output();
    const Array counts = count.output();
    for (std::size_t i = 0; i < value.values.size() && mode == ops::PoolMode::mean; ++i) {
        value.values[i] /= std::max(counts.values[i / width], 1.0);
    }
    return {{"value", value, r.value, 1e-13},
            {"count", counts, r.count, 0.0},
            {"pending", pending.output(), r.count, 0.0},
            {"dx", dx.output(), reference::pool_grad(x.input(), group.input(), r, dy.input(), mode),
             v.rounding()}};
}

bool same(const Array& a, const Array& b) {
    return a.values.size() == b.values.size() &&
           std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(double)) == 0;
}

int failures = 0;
std::string_view only;  // what names of cases have to begin with

/// Errors of the whole call, then the same bits in chunks.
void check(const std::string& name,
           std::int64_t length,
           const std::vector<std::int64_t>& cuts,
           const std::function<Results(const Variant&)>& run) {
    if (name.compare(0, only.size(), only) != 0) {
        return;
    }
    for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const std::int64_t gap : {std::int64_t{0}, std::int64_t{3}, std::int64_t{8}}) {
            const std::string line = concat(name, " ", mambase::name(dtype), " gap ", gap);
            const Results whole = run({dtype, gap, std::max<std::int64_t>(length, 1)});
            std::printf("%-58s", line.c_str());
            for (const Result& r : whole) {
                const double error = relative_error(r.got, r.expected);
                const bool is_bad = !(error <= r.tolerance);
                failures += is_bad ? 1 : 0;
                std::printf(" %s %.1e%s", r.name.c_str(), error, is_bad ? " FAILED" : "");
            }
            for (const std::int64_t cut : cuts) {
                const Results parts = run({dtype, gap, cut});
                for (std::size_t i = 0; i < whole.size(); ++i) {
                    if (!same(parts[i].got, whole[i].got)) {
                        ++failures;
                        std::printf(" %s: chunks of %lld FAILED", whole[i].name.c_str(),
                                    static_cast<long long>(cut));
                    }
                }
            }
            std::printf("\n");
            std::fflush(stdout);
        }
    }
}

void check_all(Gpu& gpu) {
    const std::vector<std::int64_t> none;
    const std::vector<std::int64_t> tile = {kTile};
    const auto embedding = [&](std::int64_t b, std::int64_t t, std::int64_t e, std::int64_t d,
                               const std::vector<std::int64_t>& cuts) {
        check(concat("embedding ", b, "x", t, " of ", e, "x", d), t, cuts,
              [&, b, t, e, d](const Variant& v) { return run_embedding(gpu, v, b, t, e, d); });
    };
    embedding(3, 1500, 256, 40, none);
    embedding(2, 9001, 16, 72, tile);
    const auto norm = [&](std::int64_t b, std::int64_t t, std::int64_t d,
                          const std::vector<std::int64_t>& cuts) {
        check(concat("rms_norm ", b, "x", t, "x", d), t, cuts,
              [&, b, t, d](const Variant& v) { return run_rms_norm(gpu, v, b, t, d); });
    };
    norm(3, 131, 256, none);
    norm(1, 70, 520, none);
    norm(2, 30, 2568, none);
    norm(2, 9001, 24, tile);
    const auto loss = [&](std::int64_t b, std::int64_t t, std::int64_t vocabulary, bool support,
                          const std::vector<std::int64_t>& cuts) {
        check(concat("cross_entropy ", b, "x", t, "x", vocabulary, support ? " support" : ""), t,
              cuts, [&, b, t, vocabulary, support](const Variant& v) {
                  return run_cross_entropy(gpu, v, b, t, vocabulary, support);
              });
    };
    loss(2, 9001, 16, false, tile);
    loss(2, 300, 16, true, none);
    loss(2, 300, 256, false, none);
    for (const ops::PoolMode mode :
         {ops::PoolMode::mean, ops::PoolMode::max, ops::PoolMode::last}) {
        check(concat("pool 2x1200 mode ", static_cast<int>(mode)), 1200, {1000, 64},
              [&, mode](const Variant& v) { return run_pool(gpu, v, 2, 1200, 7, mode); });
    }
    const auto conv = [&](const ConvCase& c, const std::vector<std::int64_t>& cuts) {
        check(concat("conv ", c.lanes, "x", c.length, "x", c.channels, " W", c.taps,
                     c.has_segment ? " segment" : "", c.has_valid ? " valid" : ""),
              c.length, cuts, [&, c](const Variant& v) { return run_conv(gpu, v, c); });
    };
    for (const std::int64_t taps : {2, 3, 4}) {
        for (const std::int64_t length : {0, 1, 2, 3, 131}) {
            conv({4, length, 40, taps, true, true}, none);
        }
        conv({2, 1100, 136, taps, false, false}, none);
        conv({4, 9000, 8, taps, true, true}, tile);
    }
}

}  // namespace

int main(int argc, char** argv) {
    only = argc > 1 ? argv[1] : "";
    Gpu gpu;
    check_all(gpu);
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
