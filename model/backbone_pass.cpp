#include "model/backbone_pass.hpp"

#include "base/checked_math.hpp"
#include "kernels/ops/embedding.hpp"
#include "kernels/ops/op_table.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "kernels/ops/selective_scan.hpp"

#include <algorithm>

namespace mambase::model {

namespace {

// Of all chunks together; what it does not hold is computed again.
constexpr std::int64_t kMostScanStarts = std::int64_t{1} << 29;

}  // namespace

std::int64_t whole_tiles(const ops::OpTable& table, std::int64_t chunk, std::int64_t length) {
    return chunk >= length ? length : std::min(round_up(chunk, table.gradient_tile), length);
}

std::int64_t chunks_with_scan_starts(const ops::OpTable& table,
                                     const ModelConfig& config,
                                     std::int64_t lanes,
                                     std::int64_t length,
                                     std::int64_t chunk) {
    const std::int64_t bytes =
        config.n_layer *
        ops::selective_scan_starts_bytes(table, lanes, chunk, config.d_inner, config.d_state);
    return bytes > 0 ? std::min(ceil_div(length, chunk) - 1, kMostScanStarts / bytes) : 0;
}

ScanStarts::ScanStarts(ops::Context& context,
                       const ModelConfig& config,
                       std::int64_t lanes,
                       std::int64_t length,
                       std::int64_t chunk)
    : chunks_(chunks_with_scan_starts(context.table, config, lanes, length, chunk)) {
    if (chunks_ > 0) {
        const std::int64_t bytes = ops::selective_scan_starts_bytes(context.table, lanes, chunk,
                                                                    config.d_inner, config.d_state);
        values_ = context.step.take(DType::u8, {chunks_, config.n_layer, bytes});
    }
}

TensorView ScanStarts::of(std::int64_t k) const {
    return k < chunks_ ? values_.slice(0, k, k + 1).reshape({values_.extent(1), values_.extent(2)})
                       : TensorView();
}

BackbonePass::BackbonePass(ops::Context& context, const Model& model, ConstTensorView ids)
    : context_(context),
      model_(model),
      params_(model.params()),
      ids_(ids),
      layout_(model.config(), ids.extent(0)) {}

TensorView BackbonePass::rows(DType type) const {
    return context_.step.take(type, {ids_.extent(0), ids_.extent(1), model_.config().d_model});
}

void BackbonePass::forward(ConstTensorView states_in,
                           TensorView states_out,
                           TensorView scan_starts) {
    const ModelConfig& config = model_.config();
    const std::int64_t lanes = ids_.extent(0);
    const std::int64_t length = ids_.extent(1);
    const TensorView embedded = rows(DType::f32);
    const TensorView added = rows(context_.activations);
    ops::embedding_forward(context_,
                           {.ids = ids_, .table = weight(params_.embedding()), .y = embedded});
    for (std::int64_t layer = 0; layer < config.n_layer; ++layer) {
        const bool first = layer == 0;
        BlockValues values = BlockValues::take(context_, config, lanes, length, true);
        values.residual = first ? embedded : rows(DType::f32);
        if (scan_starts) {
            values.starts = scan_starts.slice(0, layer, layer + 1).reshape({scan_starts.extent(1)});
            values.has_starts = true;
        }
        BlockStates states{layout_.conv(states_in, layer), layout_.ssm(states_in, layer), {}, {}};
        if (states_out) {
            states.conv_out = layout_.conv(states_out, layer);
            states.ssm_out = layout_.ssm(states_out, layer);
        }
        const TensorView before = first ? TensorView() : added;
        const TensorView stream = first ? embedded : values_.back().residual;
        blocks_.emplace_back(model_, layer)
            .forward(context_, before, stream, {}, {}, {}, true, values, states, added);
        values_.push_back(values);
    }
    residual_ = rows(DType::f32);
    normed_ = rows(context_.activations);
    rstd_ = context_.step.take(DType::f32, {lanes, length});
    ops::rms_norm_forward(context_, {.hidden = added,
                                     .residual_in = values_.back().residual,
                                     .weight = weight(params_.norm_f()),
                                     .eps = config.norm_eps,
                                     .residual_out = residual_,
                                     .y = normed_,
                                     .rstd = rstd_});
}

void BackbonePass::backward(ConstTensorView dnormed,
                            ConstTensorView states_in,
                            TensorView dstates_out,
                            TensorView dstates_in,
                            TensorView input_gradient,
                            Gradients& gradients) {
    // The gradient of the stream adds up in f32; the mixers' products read it in the type of the
    // activations.
    const bool rounds = context_.activations != DType::f32;
    const TensorView dstream = rows(DType::f32);
    const TensorView dadded = rounds ? rows(context_.activations) : dstream;
    ops::rms_norm_backward(context_, {.residual_out = residual_,
                                      .weight = weight(params_.norm_f()),
                                      .rstd = rstd_,
                                      .dy = dnormed,
                                      .dresidual_out = {},
                                      .dx = dstream,
                                      .dx_bf16 = rounds ? dadded : TensorView(),
                                      .dweight = gradients.of(params_.norm_f())});
    for (std::int64_t layer = model_.config().n_layer - 1; layer >= 0; --layer) {
        const auto at = static_cast<std::size_t>(layer);
        BlockStateGradients dstates;
        if (dstates_out) {
            dstates.conv_out = layout_.conv(dstates_out, layer);
            dstates.ssm_out = layout_.ssm(dstates_out, layer);
        }
        if (dstates_in) {
            dstates.conv_in = layout_.conv(dstates_in, layer);
            dstates.ssm_in = layout_.ssm(dstates_in, layer);
        }
        blocks_[at].backward(context_, values_[at], layout_.conv(states_in, layer),
                             layout_.ssm(states_in, layer), dstream, dadded, dstates, gradients);
    }
    if (input_gradient) {
        copy(context_.queue, dstream, input_gradient);
    }
    ops::embedding_backward(
        context_, {.ids = ids_, .dy = dstream, .dtable = gradients.of(params_.embedding())});
}

void run_chunks(
    ops::Context& context,
    const Model& model,
    ConstTensorView ids,
    std::int64_t chunk,
    StateBank& states,
    const std::function<void(const ChunkRange& part, TensorView scan_starts)>& read,
    const std::function<TensorView(const ChunkRange& part, TensorView normed)>& rows_gradient,
    TensorView input_gradient,
    Gradients& gradients) {
    const std::int64_t length = ids.extent(1);
    const std::int64_t step = whole_tiles(context.table, chunk, length);
    const std::int64_t chunks = ceil_div(length, step);
    const std::int64_t state_count = states.layout().count();
    const StepMemory::Scope scope(context.step);
    const TensorView starts = context.step.take(DType::f32, {chunks, state_count});
    const TensorView dstates = context.step.take(DType::f32, {state_count});
    const ScanStarts scan_starts(context, model.config(), states.lanes(), length, step);
    const auto start_of = [&](std::int64_t k) {
        return starts.slice(0, k, k + 1).reshape({state_count});
    };
    const auto range_of = [&](std::int64_t k) {
        return ChunkRange{k * step, std::min((k + 1) * step, length), k + 1 == chunks};
    };
    for (std::int64_t k = 0; k < chunks; ++k) {
        states.snapshot(start_of(k));
        if (k + 1 < chunks) {  // the last one is run below, with its backward
            read(range_of(k), scan_starts.of(k));
        }
    }
    for (std::int64_t k = chunks - 1; k >= 0; --k) {
        const StepMemory::Scope chunk_scope(context.step);
        const ChunkRange part = range_of(k);
        BackbonePass pass(context, model, ids.slice(1, part.lo, part.hi));
        pass.forward(start_of(k), part.last ? states.values() : TensorView(), scan_starts.of(k));
        pass.backward(rows_gradient(part, pass.normed()), start_of(k),
                      part.last ? TensorView() : dstates, k == 0 ? TensorView() : dstates,
                      input_gradient ? input_gradient.slice(1, part.lo, part.hi) : TensorView(),
                      gradients);
    }
}

}  // namespace mambase::model
