#include "pipelines/bench_ops.hpp"

#include "base/rng.hpp"
#include "genomics_io/tokenizer.hpp"
#include "kernels/ops/op_table.hpp"

#include <algorithm>
#include <utility>

namespace mambase::pipelines {

namespace {

/// Small uniform values, the same each time.
void fill_uniform(TensorView values, std::uint64_t seed, std::uint64_t stream) {
    const CounterRng rng(seed, stream);
    auto* out = static_cast<float*>(values.data());
    for (std::int64_t i = 0; i < values.count(); ++i) {
        out[i] = static_cast<float>(rng.uniform(static_cast<std::uint64_t>(i)) - 0.5);
    }
}

OpBench product_bench(std::string name, const Product& product) {
    return {std::move(name), product.flops(),
            [&product](ops::Context& context) { product.forward(context); },
            [&product](ops::Context& context) { product.backward(context); }};
}

OpBench embedding_bench(Tensors& from, const model::ModelConfig& config, std::int64_t rows) {
    const ops::Embedding op{.ids = from.ids({1, rows}),
                            .table = from.f32({config.vocab_size, config.d_model}),
                            .y = from.f32({1, rows, config.d_model})};
    const ops::EmbeddingGrad grad{
        .ids = op.ids, .dy = op.y, .dtable = from.sums({config.vocab_size, config.d_model})};
    return {"embedding", 0.0, [op](ops::Context& context) { embedding_forward(context, op); },
            [grad](ops::Context& context) { embedding_backward(context, grad); }};
}

OpBench norm_bench(Tensors& from, const model::ModelConfig& config, std::int64_t rows) {
    const Shape shape{1, rows, config.d_model};
    const ops::RmsNorm op{.hidden = from.f32(shape),
                          .residual_in = from.f32(shape),
                          .weight = from.f32({config.d_model}),
                          .eps = config.norm_eps,
                          .residual_out = from.f32(shape),
                          .y = from.f32(shape),
                          .rstd = from.f32({1, rows})};
    const ops::RmsNormGrad grad{.residual_out = op.residual_out,
                                .weight = op.weight,
                                .rstd = op.rstd,
                                .dy = op.y,
                                .dresidual_out = op.hidden,
                                .dx = from.f32(shape),
                                .dx_bf16 = {},
                                .dweight = from.sums({config.d_model})};
    return {"rms_norm", 0.0, [op](ops::Context& context) { rms_norm_forward(context, op); },
            [grad](ops::Context& context) { rms_norm_backward(context, grad); }};
}

OpBench conv_bench(Tensors& from, const model::ModelConfig& config, std::int64_t rows) {
    const std::int64_t inner = config.d_inner;
    const Shape shape{1, rows, inner};
    // The rows of x lie among those of the gate, as in_proj gives them.
    const ops::CausalConv1d op{.x = from.f32({1, rows, 2 * inner}).slice(2, 0, inner),
                               .weight = from.f32({inner, config.d_conv}),
                               .bias = from.f32({inner}),
                               .segment = {},
                               .valid = {},
                               .state_in = from.f32({1, config.d_conv - 1, inner}),
                               .y = from.f32(shape),
                               .state_out = from.f32({1, config.d_conv - 1, inner})};
    const ops::CausalConv1dGrad grad{.x = op.x,
                                     .weight = op.weight,
                                     .bias = op.bias,
                                     .segment = {},
                                     .valid = {},
                                     .state_in = op.state_in,
                                     .dy = op.y,
                                     .dstate_out = {},
                                     .dx = from.f32({1, rows, 2 * inner}).slice(2, 0, inner),
                                     .dweight = from.sums({inner, config.d_conv}),
                                     .dbias = from.sums({inner}),
                                     .dstate_in = from.f32({1, config.d_conv - 1, inner})};
    return {"causal_conv1d", 0.0,
            [op](ops::Context& context) { causal_conv1d_forward(context, op); },
            [grad](ops::Context& context) { causal_conv1d_backward(context, grad); }};
}

ops::SelectiveScan scan_arguments(Tensors& from,
                                  const model::ModelConfig& config,
                                  std::int64_t rows,
                                  const ops::OpTable& table) {
    const std::int64_t inner = config.d_inner;
    const std::int64_t state = config.d_state;
    const std::int64_t rank = config.dt_rank;
    const Shape shape{1, rows, inner};
    const TensorView projected = from.f32({1, rows, rank + 2 * state});
    const Shape saved{ops::selective_scan_saved_bytes(table, 1, rows, inner, state)};
    return {.x = from.f32(shape),
            .dt_raw = from.f32(shape),
            .z = from.f32({1, rows, 2 * inner}).slice(2, inner, 2 * inner),
            .a_log = from.f32({inner, state}),
            .b = projected.slice(2, rank, rank + state),
            .c = projected.slice(2, rank + state, rank + 2 * state),
            .d = from.f32({inner}),
            .dt_bias = from.f32({inner}),
            .segment = {},
            .valid = {},
            .state_in = from.f32({1, inner, state}),
            .y = from.f32(shape),
            .state_out = from.f32({1, inner, state}),
            .saved = from.ids(saved)};
}

ops::SelectiveScanGrad scan_gradient(Tensors& from, const ops::SelectiveScan& op) {
    const Shape shape = op.x.shape();
    const std::int64_t inner = shape[2];
    const Shape states = op.state_in.shape();
    return {.x = op.x,
            .dt_raw = op.dt_raw,
            .z = op.z,
            .a_log = op.a_log,
            .b = op.b,
            .c = op.c,
            .d = op.d,
            .dt_bias = op.dt_bias,
            .segment = {},
            .valid = {},
            .state_in = op.state_in,
            .saved = op.saved,
            .dy = from.f32(shape),
            .dstate_out = {},
            .dx = from.f32(shape),
            .ddt_raw = from.f32(shape),
            .dz = from.f32(shape),
            .da_log = from.sums(op.a_log.shape()),
            .db = from.f32(op.b.shape()),
            .dc = from.f32(op.c.shape()),
            .dd = from.sums({inner}),
            .ddt_bias = from.sums({inner}),
            .dstate_in = from.f32(states)};
}

/// The forward keeps nothing, as in inference; the backward is given what one that keeps has saved.
OpBench scan_bench(Tensors& from,
                   const model::ModelConfig& config,
                   std::int64_t rows,
                   ops::Context& context) {
    ops::SelectiveScan op = scan_arguments(from, config, rows, context.table);
    const ops::SelectiveScanGrad grad = scan_gradient(from, op);
    selective_scan_forward(context, op);
    op.saved = {};
    return {"selective_scan", 0.0, [op](ops::Context& to) { selective_scan_forward(to, op); },
            [grad](ops::Context& to) { selective_scan_backward(to, grad); }};
}

OpBench loss_bench(Tensors& from, const model::ModelConfig& config, std::int64_t rows) {
    const Shape shape{1, rows, config.vocab_size};
    const ops::CrossEntropy op{.logits = from.f32(shape),
                               .targets = from.ids({1, rows}),
                               .weight = {},
                               .support = {},
                               .loss = {},
                               .best = {},
                               .loss_sum = from.sums({1})};
    const ops::CrossEntropyGrad grad{.logits = op.logits,
                                     .targets = op.targets,
                                     .weight = {},
                                     .scale = 1.0,
                                     .dlogits = from.f32(shape)};
    return {"cross_entropy", 0.0,
            [op](ops::Context& context) { cross_entropy_forward(context, op); },
            [grad](ops::Context& context) { cross_entropy_backward(context, grad); }};
}

}  // namespace

TensorView Tensors::make(DType dtype, const Shape& shape) {
    return tensors_.emplace_back(host_allocator(), dtype, shape, "bench").view();
}

TensorView Tensors::f32(const Shape& shape) {
    const TensorView view = make(DType::f32, shape);
    fill_uniform(view, seed_, tensors_.size());
    return view;
}

TensorView Tensors::sums(const Shape& shape) {
    const TensorView view = make(DType::f64, shape);
    auto* const values = static_cast<double*>(view.data());
    std::fill(values, values + view.count(), 0.0);
    return view;
}

TensorView Tensors::ids(const Shape& shape) {
    const TensorView view = make(DType::u8, shape);
    auto* const values = static_cast<std::uint8_t*>(view.data());
    std::fill(values, values + view.count(), io::Tokenizer::named("dna").acgt()[0]);
    return view;
}

std::vector<OpBench> op_benches(Tensors& from,
                                const Products& products,
                                const model::ModelConfig& config,
                                std::int64_t rows,
                                ops::Context& context) {
    return {
        embedding_bench(from, config, rows),
        norm_bench(from, config, rows),
        product_bench("linear in_proj", products.in_proj),
        conv_bench(from, config, rows),
        product_bench("linear x_proj", products.x_proj),
        product_bench("linear dt_proj", products.dt_proj),
        scan_bench(from, config, rows, context),
        product_bench("linear out_proj", products.out_proj),
        product_bench("linear head", products.head),
        loss_bench(from, config, rows),
    };
}

}  // namespace mambase::pipelines
