#include "pipelines/bench_ops.hpp"

#include "base/rng.hpp"
#include "genomics_io/tokenizer.hpp"
#include "kernels/ops/op_table.hpp"

#include <algorithm>
#include <initializer_list>

namespace mambase::pipelines {

namespace {

// Values of the block that tensors are filled from: no multiple of a row, so that rows differ.
constexpr std::int64_t kBlock = 65'537;

constexpr const char* kProduct = "linear ";
constexpr const char* kHead = "linear head";

/// What the views show; absent ones nothing.
double bytes_of(std::initializer_list<ConstTensorView> views) {
    double sum = 0.0;
    for (const ConstTensorView& view : views) {
        sum += view ? static_cast<double>(view.count() * size_of(view.dtype())) : 0.0;
    }
    return sum;
}

double bytes_of(const ops::RmsNorm& op) {
    return bytes_of({op.hidden, op.residual_in, op.weight, op.residual_out, op.y, op.rstd});
}
double bytes_of(const ops::RmsNormGrad& op) {
    return bytes_of({op.residual_out, op.weight, op.rstd, op.dy, op.dresidual_out, op.dx,
                     op.dx_bf16, op.dweight});
}
double bytes_of(const ops::CausalConv1d& op) {
    return bytes_of({op.x, op.weight, op.bias, op.state_in, op.y, op.state_out});
}
double bytes_of(const ops::CausalConv1dGrad& op) {
    return bytes_of(
        {op.x, op.weight, op.bias, op.state_in, op.dy, op.dx, op.dweight, op.dbias, op.dstate_in});
}
double bytes_of(const ops::SelectiveScan& op) {
    return bytes_of({op.x, op.dt_raw, op.z, op.a_log, op.b, op.c, op.d, op.dt_bias, op.state_in,
                     op.y, op.state_out});
}
/// Without `saved`, which is the backend's own doing.
double bytes_of(const ops::SelectiveScanGrad& op) {
    return bytes_of({op.x, op.dt_raw, op.z, op.a_log, op.b, op.c, op.d, op.dt_bias, op.state_in,
                     op.dy, op.dx, op.ddt_raw, op.dz, op.da_log, op.db, op.dc, op.dd, op.ddt_bias,
                     op.dstate_in});
}

template <class Op, class Grad>
OpBench op_bench(const char* name,
                 const Op& op,
                 const Grad& grad,
                 void (*forward)(ops::Context&, const Op&),
                 void (*backward)(ops::Context&, const Grad&)) {
    return {name,
            0.0,
            bytes_of(op),
            bytes_of(grad),
            [=](ops::Context& context) { forward(context, op); },
            [=](ops::Context& context) { backward(context, grad); }};
}

bool is_product(const OpBench& bench) {
    return bench.name.starts_with(kProduct) && bench.name != kHead;
}

const OpBench& head_of(const std::vector<OpBench>& benches) {
    return *std::find_if(benches.begin(), benches.end(),
                         [](const OpBench& bench) { return bench.name == kHead; });
}

}  // namespace

Tensors::Tensors(ops::Context& context, std::uint64_t seed) : context_(context) {
    Tensor values(context.queue.host_memory(), DType::f32, {kBlock}, "bench values");
    Tensor codes(context.queue.host_memory(), DType::u8, {kBlock}, "bench ids");
    const CounterRng rng(seed, 0);
    const auto acgt = io::Tokenizer::named("dna").acgt();
    for (std::int64_t i = 0; i < kBlock; ++i) {
        const auto counter = static_cast<std::uint64_t>(i);
        static_cast<float*>(values.view().data())[i] =
            static_cast<float>(rng.uniform(counter) - 0.5);
        static_cast<std::uint8_t*>(codes.view().data())[i] = acgt[rng.below(counter, 4)];
    }
    block_ = narrow_block_ = make(DType::f32, {kBlock});
    ids_ = make(DType::u8, {kBlock});
    copy(context.queue, values.view(), block_);
    copy(context.queue, codes.view(), ids_);
    if (context.activations != DType::f32) {
        narrow_block_ = make(context.activations, {kBlock});
        ops::cast(context, {.x = block_, .y = narrow_block_});
    }
    context.queue.wait();
}

TensorView Tensors::make(DType dtype, const Shape& shape) {
    return tensors_.emplace_back(context_.queue.memory(), dtype, shape, "bench").view();
}

TensorView Tensors::filled(const Shape& shape, TensorView block) {
    const TensorView out = make(block.dtype(), shape);
    auto* const data = static_cast<char*>(out.data());
    const std::int64_t size = size_of(block.dtype());
    const std::int64_t bytes = out.count() * size;
    std::int64_t done = std::min(bytes, kBlock * size);
    context_.queue.copy_bytes(data, block.data(), done);
    while (done < bytes) {
        const std::int64_t more = std::min(done, bytes - done);
        context_.queue.copy_bytes(data + done, data, more);
        done += more;
    }
    return out;
}

TensorView Tensors::sums(const Shape& shape) {
    const TensorView view = make(DType::f64, shape);
    zero(context_.queue, view);
    return view;
}

TensorView Tensors::bytes(std::int64_t count) {
    return make(DType::u8, {count});
}

LayerBench::LayerBench(ops::Context& context,
                       const model::Model& model,
                       std::int64_t lanes,
                       std::int64_t length,
                       std::uint64_t seed)
    : config_(model.config()), rows_({lanes, length}), from_(context, seed) {
    const std::int64_t inner = config_.d_inner;
    const std::int64_t rank = config_.dt_rank;
    const auto rows = [&](std::int64_t width) { return from_.activations({lanes, length, width}); };
    ids_ = from_.ids(rows_);
    residual_ = from_.f32({lanes, length, config_.d_model});
    dstream_ = from_.f32({lanes, length, config_.d_model});
    logits_ = from_.f32({lanes, length, config_.vocab_size});
    for (TensorView* const view : {&normed_, &added_, &dadded_, &dnormed_}) {
        *view = rows(config_.d_model);
    }
    for (TensorView* const view : {&u_, &dt_raw_, &gated_, &du_, &ddt_raw_, &dgated_}) {
        *view = rows(inner);
    }
    for (TensorView* const view : {&xz_, &dxz_}) {
        *view = rows(2 * inner);
    }
    for (TensorView* const view : {&x_dbl_, &dx_dbl_}) {
        *view = rows(rank + 2 * config_.d_state);
    }
    dlogits_ = rows(config_.vocab_size);
    const auto weight = [&](std::size_t index) -> ConstTensorView {
        return model.params()[index].value.view();
    };
    const model::LayerParams& at = model.params().layers().front();
    add_embedding_and_norm(model);
    add_product("in_proj", weight(at.in_proj), normed_, xz_, dnormed_, dxz_);
    add_conv(model);
    add_product("x_proj", weight(at.x_proj), u_, x_dbl_, du_, dx_dbl_, true);
    add_product("dt_proj", weight(at.dt_proj), x_dbl_.slice(2, 0, rank), dt_raw_,
                dx_dbl_.slice(2, 0, rank), ddt_raw_);
    add_scan(context, model);
    add_product("out_proj", weight(at.out_proj), gated_, added_, dgated_, dadded_);
    add_product("head", weight(model.params().head()), normed_, logits_, dnormed_, dlogits_);
    add_loss();
    for (const OpBench& bench : ops_) {
        bench.forward(context);
    }
    context.queue.wait();
}

void LayerBench::add_embedding_and_norm(const model::Model& model) {
    const ConstTensorView table = model.params()[model.params().embedding()].value.view();
    const TensorView embedded = from_.f32(residual_.shape());
    const ops::Embedding look_up{.ids = ids_, .table = table, .y = embedded};
    const ops::EmbeddingGrad look_up_grad{
        .ids = ids_, .dy = dstream_, .dtable = from_.sums(table.shape())};
    OpBench bench;
    bench.name = "embedding";
    bench.forward_bytes = bytes_of({ids_, table, embedded});
    bench.backward_bytes = bytes_of({ids_, dstream_, look_up_grad.dtable});
    bench.forward = [=](ops::Context& context) { embedding_forward(context, look_up); };
    bench.backward = [=](ops::Context& context) { embedding_backward(context, look_up_grad); };
    ops_.push_back(bench);

    const ops::RmsNorm op{
        .hidden = from_.activations(added_.shape()),
        .residual_in = embedded,
        .weight = model.params()[model.params().layers().front().norm].value.view(),
        .eps = config_.norm_eps,
        .residual_out = residual_,
        .y = normed_,
        .rstd = from_.f32(rows_)};
    const ops::RmsNormGrad grad{.residual_out = residual_,
                                .weight = op.weight,
                                .rstd = op.rstd,
                                .dy = dnormed_,
                                .dresidual_out = dstream_,
                                .dx = dstream_,
                                .dx_bf16 = dadded_.dtype() == DType::bf16 ? dadded_ : TensorView(),
                                .dweight = from_.sums({config_.d_model})};
    ops_.push_back(op_bench("rms_norm", op, grad, ops::rms_norm_forward, ops::rms_norm_backward));
}

void LayerBench::add_product(const std::string& name,
                             ConstTensorView weight,
                             TensorView x,
                             TensorView y,
                             TensorView dx,
                             TensorView dy,
                             bool add_to_dx) {
    const ops::Linear op{.x = x, .weight = weight, .bias = {}, .y = y};
    const ops::LinearGrad grad{.x = x,
                               .weight = weight,
                               .dy = dy,
                               .dx = dx,
                               .add_to_dx = add_to_dx,
                               .dweight = from_.sums(weight.shape()),
                               .dbias = {}};
    OpBench bench;
    bench.name = kProduct + name;
    bench.flops = 2.0 * static_cast<double>(x.count()) * static_cast<double>(weight.extent(0));
    bench.forward_bytes = bytes_of({x, weight, y});
    bench.backward_bytes =
        bytes_of({x, weight, dy, dx, add_to_dx ? dx : TensorView(), grad.dweight});
    bench.forward = [=](ops::Context& context) { linear_forward(context, op); };
    bench.backward = [=](ops::Context& context) { linear_backward(context, grad); };
    ops_.push_back(bench);
}

void LayerBench::add_conv(const model::Model& model) {
    const std::int64_t inner = config_.d_inner;
    const Shape state{rows_[0], config_.d_conv - 1, inner};
    const model::LayerParams& at = model.params().layers().front();
    // The rows of x lie among those of the gate, as in_proj gives them.
    const ops::CausalConv1d op{
        .x = xz_.slice(2, 0, inner),
        .weight = model.params()[at.conv].value.view().reshape({inner, config_.d_conv}),
        .bias = at.conv_bias ? model.params()[*at.conv_bias].value.view() : ConstTensorView(),
        .segment = {},
        .valid = {},
        .state_in = from_.f32(state),
        .y = u_,
        .state_out = from_.f32(state)};
    const ops::CausalConv1dGrad grad{.x = op.x,
                                     .weight = op.weight,
                                     .bias = op.bias,
                                     .segment = {},
                                     .valid = {},
                                     .state_in = op.state_in,
                                     .dy = du_,
                                     .dstate_out = {},
                                     .dx = dxz_.slice(2, 0, inner),
                                     .dweight = from_.sums({inner, config_.d_conv}),
                                     .dbias = op.bias ? from_.sums({inner}) : TensorView(),
                                     .dstate_in = from_.f32(state)};
    ops_.push_back(op_bench("causal_conv1d", op, grad, ops::causal_conv1d_forward,
                            ops::causal_conv1d_backward));
}

/// The forward keeps nothing, as in inference; the backward is given what one that keeps has saved.
void LayerBench::add_scan(ops::Context& context, const model::Model& model) {
    const std::int64_t inner = config_.d_inner;
    const std::int64_t state = config_.d_state;
    const std::int64_t rank = config_.dt_rank;
    const Shape states{rows_[0], inner, state};
    const model::LayerParams& at = model.params().layers().front();
    const auto weight = [&](std::size_t index) -> ConstTensorView {
        return model.params()[index].value.view();
    };
    scan_ = {.x = u_,
             .dt_raw = dt_raw_,
             .z = xz_.slice(2, inner, 2 * inner),
             .a_log = weight(at.a_log),
             .b = x_dbl_.slice(2, rank, rank + state),
             .c = x_dbl_.slice(2, rank + state, rank + 2 * state),
             .d = weight(at.d),
             .dt_bias = weight(at.dt_bias),
             .segment = {},
             .valid = {},
             .state_in = from_.f32(states),
             .y = gated_,
             .state_out = from_.f32(states),
             .saved = {}};
    const TensorView saved = from_.bytes(
        ops::selective_scan_saved_bytes(context.table, rows_[0], rows_[1], inner, state));
    const ops::SelectiveScanGrad grad{.x = scan_.x,
                                      .dt_raw = scan_.dt_raw,
                                      .z = scan_.z,
                                      .a_log = scan_.a_log,
                                      .b = scan_.b,
                                      .c = scan_.c,
                                      .d = scan_.d,
                                      .dt_bias = scan_.dt_bias,
                                      .segment = {},
                                      .valid = {},
                                      .state_in = scan_.state_in,
                                      .saved = saved,
                                      .dy = dgated_,
                                      .dstate_out = {},
                                      .dx = du_,
                                      .ddt_raw = ddt_raw_,
                                      .dz = dxz_.slice(2, inner, 2 * inner),
                                      .da_log = from_.sums({inner, state}),
                                      .db = dx_dbl_.slice(2, rank, rank + state),
                                      .dc = dx_dbl_.slice(2, rank + state, rank + 2 * state),
                                      .dd = from_.sums({inner}),
                                      .ddt_bias = from_.sums({inner}),
                                      .dstate_in = from_.f32(states),
                                      .for_training = true};
    // What is before it in the layer, so that what is saved is of the values that stay.
    for (const OpBench& bench : ops_) {
        bench.forward(context);
    }
    ops::SelectiveScan keeping = scan_;
    keeping.saved = saved;
    selective_scan_forward(context, keeping);
    ops_.push_back(op_bench("selective_scan", scan_, grad, ops::selective_scan_forward,
                            ops::selective_scan_backward));
}

void LayerBench::add_loss() {
    const TensorView sum = from_.sums({rows_[0]});
    const ops::CrossEntropy op{.logits = logits_,
                               .targets = ids_,
                               .weight = {},
                               .support = {},
                               .loss = {},
                               .best = {},
                               .loss_sum = sum};
    const ops::CrossEntropyGrad grad{
        .logits = logits_, .targets = ids_, .weight = {}, .scale = 1.0, .dlogits = dlogits_};
    OpBench bench;
    bench.name = "cross_entropy";
    bench.forward_bytes = bytes_of({logits_, ids_, sum});
    bench.backward_bytes = bytes_of({logits_, ids_, dlogits_});
    bench.forward = [=](ops::Context& context) { cross_entropy_forward(context, op); };
    bench.backward = [=](ops::Context& context) { cross_entropy_backward(context, grad); };
    ops_.push_back(bench);
}

void LayerBench::products_forward(ops::Context& context) const {
    for (const OpBench& bench : ops_) {
        if (is_product(bench)) {
            bench.forward(context);
        }
    }
}

void LayerBench::products_backward(ops::Context& context) const {
    for (const OpBench& bench : ops_) {
        if (is_product(bench)) {
            bench.backward(context);
        }
    }
}

void LayerBench::model_products_forward(ops::Context& context) const {
    for (std::int64_t layer = 0; layer < config_.n_layer; ++layer) {
        products_forward(context);
    }
    head_of(ops_).forward(context);
}

void LayerBench::model_products_step(ops::Context& context) const {
    model_products_forward(context);
    head_of(ops_).backward(context);
    for (std::int64_t layer = 0; layer < config_.n_layer; ++layer) {
        products_backward(context);
    }
}

double LayerBench::model_flops() const {
    double sum = head_of(ops_).flops;
    for (const OpBench& bench : ops_) {
        sum += is_product(bench) ? static_cast<double>(config_.n_layer) * bench.flops : 0.0;
    }
    return sum;
}

ops::SelectiveScan LayerBench::scan(std::int64_t lanes, std::int64_t length) const {
    const auto cut = [&](auto view) { return view.slice(0, 0, lanes).slice(1, 0, length); };
    ops::SelectiveScan out = scan_;
    for (ConstTensorView* const view : {&out.x, &out.dt_raw, &out.z, &out.b, &out.c}) {
        *view = cut(*view);
    }
    out.y = cut(out.y);
    out.state_in = out.state_in.slice(0, 0, lanes);
    out.state_out = out.state_out.slice(0, 0, lanes);
    return out;
}

std::int64_t LayerBench::bytes(const ops::Context& context,
                               const model::ModelConfig& config,
                               std::int64_t lanes,
                               std::int64_t length) {
    const std::int64_t d = config.d_model;
    const std::int64_t e = config.d_inner;
    const std::int64_t projected = config.dt_rank + 2 * config.d_state;
    const std::int64_t in_f32 = 3 * d + config.vocab_size + 1;
    const std::int64_t narrow = 5 * d + 10 * e + 2 * projected + config.vocab_size;
    return lanes * length * (4 * in_f32 + size_of(context.activations) * narrow + 1) +
           ops::selective_scan_saved_bytes(context.table, lanes, length, e, config.d_state);
}

}  // namespace mambase::pipelines
