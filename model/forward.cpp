#include "model/forward.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/embedding.hpp"
#include "kernels/ops/linear.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "model/mamba_block.hpp"

namespace mambase::model {

namespace {

/// The stream between blocks: what has been added up, and what the last block adds to it. Up to the
/// first block that is the embedding, which is looked up where it is read.
struct Stream {
    ConstTensorView table;  // [V,D]   f32
    ConstTensorView ids;    // [B,T]
    TensorView residual;    // [B,T,D] f32: after the second block and on
    TensorView added;       // [B,T,D] activations

    /// What block `layer`, or the norm in its place, adds to: RmsNorm's residual_in and ids.
    ConstTensorView before(std::int64_t layer) const { return layer <= 1 ? table : residual; }
    ConstTensorView ids_before(std::int64_t layer) const {
        return layer <= 1 ? ids : ConstTensorView();
    }
};

/// The first `blocks` blocks over one chunk, at least one.
void run_blocks(ops::Context& context,
                const Model& model,
                const Chunk& chunk,
                StateBank& bank,
                std::int64_t blocks,
                const Stream& stream) {
    const std::int64_t lanes = chunk.ids.extent(0);
    const std::int64_t length = chunk.ids.extent(1);
    const StepMemory::Scope scope(context.step);
    BlockValues values = BlockValues::take(context, model.config(), lanes, length, false);
    const bool fewer_tokens = model.config().vocab_size < lanes * length;
    for (std::int64_t layer = 0; layer < blocks; ++layer) {
        const BlockStates states{bank.conv(layer), bank.ssm(layer), bank.conv(layer),
                                 bank.ssm(layer)};
        const MambaBlock block(model, layer);
        const bool first = layer == 0;
        const bool looked_up = first && fewer_tokens;
        if (looked_up) {
            block.project_tokens(context, chunk.ids, stream.table, values.xz);
        }
        values.residual = first ? TensorView() : stream.residual;
        values.starts = chunk.scan_starts ? chunk.scan_starts.slice(0, layer, layer + 1)
                                                .reshape({chunk.scan_starts.extent(1)})
                                          : TensorView();
        block.forward(context, first ? TensorView() : stream.added,
                      looked_up ? ConstTensorView() : stream.before(layer),
                      stream.ids_before(layer), chunk.valid, chunk.segment, chunk.for_training,
                      values, states, stream.added);
    }
    if (chunk.check_states) {
        bank.require_finite(context);
    }
}

void check_chunk(const Model& model,
                 const Chunk& chunk,
                 const StateBank& bank,
                 std::int64_t layer,
                 const Shape& out,
                 std::int64_t width) {
    const ModelConfig& config = model.config();
    MAMBASE_REQUIRE(chunk.ids.shape().rank() == 2 && chunk.ids.extent(0) == bank.lanes(),
                    ErrorCode::shape,
                    concat("ids are ", chunk.ids.shape().text(), " for ", bank.lanes(), " lanes"));
    MAMBASE_REQUIRE(layer >= kLastLayer && layer <= config.n_layer, ErrorCode::usage,
                    concat("layer ", layer, " of a model of ", config.n_layer, " blocks"));
    const Shape expected{chunk.ids.extent(0), chunk.ids.extent(1), width};
    MAMBASE_REQUIRE(out == expected, ErrorCode::shape,
                    concat("the output is ", out.text(), ", not ", expected.text()));
}

}  // namespace

void forward_hidden(ops::Context& context,
                    const Model& model,
                    const Chunk& chunk,
                    StateBank& bank,
                    std::int64_t layer,
                    TensorView hidden) {
    const ModelConfig& config = model.config();
    const ParamTable& params = model.params();
    check_chunk(model, chunk, bank, layer, hidden.shape(), config.d_model);
    if (hidden.count() == 0) {
        return;
    }
    if (layer == 0) {
        ops::embedding_forward(
            context,
            {.ids = chunk.ids, .table = params[params.embedding()].value.view(), .y = hidden});
        return;
    }
    const StepMemory::Scope scope(context.step);
    const auto rows = [&](DType type) { return context.step.take(type, hidden.shape()); };
    const Stream stream{params[params.embedding()].value.view(), chunk.ids, rows(DType::f32),
                        rows(context.activations)};
    const std::int64_t blocks = layer == kLastLayer ? config.n_layer : layer;
    run_blocks(context, model, chunk, bank, blocks, stream);
    // The stream after block k is added up by the norm that follows; of the two results, one is
    // what was asked for.
    const bool normed = layer == kLastLayer;
    ops::rms_norm_forward(context, {.hidden = stream.added,
                                    .residual_in = stream.before(blocks),
                                    .ids = stream.ids_before(blocks),
                                    .weight = params[params.norm_f()].value.view(),
                                    .eps = config.norm_eps,
                                    .residual_out = normed ? TensorView() : hidden,
                                    .y = normed ? hidden : rows(context.activations),
                                    .rstd = {}});
}

void forward_pooled(ops::Context& context,
                    const Model& model,
                    const Chunk& chunk,
                    StateBank& bank,
                    std::int64_t layer,
                    const RowPool& pool) {
    const std::int64_t rows = chunk.ids.count();
    const std::int64_t width = model.config().d_model;
    const StepMemory::Scope scope(context.step);
    const TensorView hidden =
        context.step.take(DType::f32, {chunk.ids.extent(0), chunk.ids.extent(1), width});
    forward_hidden(context, model, chunk, bank, layer, hidden);
    ops::pool_forward(context, {.x = hidden.reshape({1, rows, width}),
                                .group = pool.group.reshape({1, rows}),
                                .mode = pool.mode,
                                .sum = pool.sum,
                                .count = pool.count});
}

void forward_logits(ops::Context& context,
                    const Model& model,
                    const Chunk& chunk,
                    StateBank& bank,
                    TensorView logits) {
    const ModelConfig& config = model.config();
    check_chunk(model, chunk, bank, kLastLayer, logits.shape(), config.vocab_size);
    const StepMemory::Scope scope(context.step);
    const TensorView hidden = context.step.take(
        context.activations, {chunk.ids.extent(0), chunk.ids.extent(1), config.d_model});
    forward_hidden(context, model, chunk, bank, kLastLayer, hidden);
    if (logits.count() > 0) {
        ops::linear_forward(context, {.x = hidden,
                                      .weight = model.params()[model.params().head()].value.view(),
                                      .bias = {},
                                      .y = logits});
    }
}

void forward_losses(ops::Context& context,
                    const Model& model,
                    const Chunk& chunk,
                    StateBank& bank,
                    const NextTokens& next) {
    const StepMemory::Scope scope(context.step);
    const Shape shape{chunk.ids.extent(0), chunk.ids.extent(1), model.config().vocab_size};
    const TensorView logits = next.logits ? next.logits : context.step.take(DType::f32, shape);
    forward_logits(context, model, chunk, bank, logits);
    ops::cross_entropy_forward(context, {.logits = logits,
                                         .targets = next.targets,
                                         .weight = next.weight,
                                         .support = next.support,
                                         .loss = next.loss,
                                         .best = next.best,
                                         .loss_sum = {}});
}

}  // namespace mambase::model
