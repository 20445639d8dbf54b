#include "model/chunked_step.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/embedding.hpp"
#include "kernels/ops/linear.hpp"
#include "kernels/ops/op_table.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "kernels/ops/selective_scan.hpp"
#include "model/forward.hpp"
#include "model/mamba_block.hpp"

#include <algorithm>
#include <cmath>

namespace mambase::model {

namespace {

// Of all chunks together; what it does not hold is computed again.
constexpr std::int64_t kMostScanStarts = std::int64_t{1} << 29;

/// Of a layer and chunk.
std::int64_t scan_starts_bytes(const ops::OpTable& table,
                               const ModelConfig& config,
                               std::int64_t lanes,
                               std::int64_t chunk) {
    return ops::selective_scan_starts_bytes(table, lanes, chunk, config.d_inner, config.d_state);
}

TensorView of_layer(TensorView scan_starts, std::int64_t layer) {
    return scan_starts.slice(0, layer, layer + 1).reshape({scan_starts.extent(1)});
}

/// One chunk of the batch, positions [lo, hi).
TrainBatch positions(const TrainBatch& batch, std::int64_t lo, std::int64_t hi) {
    return {batch.ids.slice(1, lo, hi), batch.targets.slice(1, lo, hi),
            batch.weight.slice(1, lo, hi),
            batch.input_gradient ? batch.input_gradient.slice(1, lo, hi) : TensorView()};
}

/// The forward pass of a chunk with everything that backward needs, and that backward.
class ChunkPass {
  public:
    ChunkPass(ops::Context& context, const Model& model, const TrainBatch& batch)
        : context_(context),
          model_(model),
          params_(model.params()),
          batch_(batch),
          layout_(model.config(), batch.ids.extent(0)) {}

    /// states_out: absent for a chunk that is run again. loss_sum [B] f64: absent likewise.
    /// scan_starts: of the chunk's first run, optional.
    void forward(ConstTensorView states_in,
                 TensorView states_out,
                 TensorView loss_sum,
                 TensorView scan_starts);
    /// dstates_out: absent for the last chunk, which nothing follows; dstates_in: absent for the
    /// first, since no gradient is asked for of the initial states. The two may be one. window:
    /// positions of the whole.
    void backward(ConstTensorView states_in,
                  TensorView dstates_out,
                  TensorView dstates_in,
                  ConstTensorView scale,
                  std::int64_t window,
                  Gradients& gradients);

  private:
    TensorView rows(DType type, std::int64_t width) const {
        return context_.step.take(type, {batch_.ids.extent(0), batch_.ids.extent(1), width});
    }
    ConstTensorView weight(std::size_t index) const { return params_[index].value.view(); }

    ops::Context& context_;
    const Model& model_;
    const ParamTable& params_;
    const TrainBatch& batch_;
    const StateLayout layout_;
    std::vector<MambaBlock> blocks_;
    std::vector<BlockValues> values_;
    TensorView residual_;  // after the last block
    TensorView rstd_;
    TensorView normed_;
    TensorView logits_;
};

void ChunkPass::forward(ConstTensorView states_in,
                        TensorView states_out,
                        TensorView loss_sum,
                        TensorView scan_starts) {
    const ModelConfig& config = model_.config();
    const std::int64_t lanes = batch_.ids.extent(0);
    const std::int64_t length = batch_.ids.extent(1);
    const TensorView embedded = rows(DType::f32, config.d_model);
    const TensorView added = rows(context_.activations, config.d_model);
    ops::embedding_forward(
        context_, {.ids = batch_.ids, .table = weight(params_.embedding()), .y = embedded});
    for (std::int64_t layer = 0; layer < config.n_layer; ++layer) {
        const bool first = layer == 0;
        BlockValues values = BlockValues::take(context_, config, lanes, length, true);
        values.residual = first ? embedded : rows(DType::f32, config.d_model);
        if (scan_starts) {
            values.starts = of_layer(scan_starts, layer);
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
    residual_ = rows(DType::f32, config.d_model);
    normed_ = rows(context_.activations, config.d_model);
    rstd_ = context_.step.take(DType::f32, {lanes, length});
    logits_ = rows(DType::f32, config.vocab_size);
    ops::rms_norm_forward(context_, {.hidden = added,
                                     .residual_in = values_.back().residual,
                                     .weight = weight(params_.norm_f()),
                                     .eps = config.norm_eps,
                                     .residual_out = residual_,
                                     .y = normed_,
                                     .rstd = rstd_});
    ops::linear_forward(context_,
                        {.x = normed_, .weight = weight(params_.head()), .bias = {}, .y = logits_});
    if (loss_sum) {
        ops::cross_entropy_forward(context_, {.logits = logits_,
                                              .targets = batch_.targets,
                                              .weight = batch_.weight,
                                              .support = {},
                                              .loss = {},
                                              .best = {},
                                              .loss_sum = loss_sum});
    }
}

void ChunkPass::backward(ConstTensorView states_in,
                         TensorView dstates_out,
                         TensorView dstates_in,
                         ConstTensorView scale,
                         std::int64_t window,
                         Gradients& gradients) {
    const ModelConfig& config = model_.config();
    // The gradient of the stream adds up in f32; the mixers' products read it in the type of the
    // activations.
    const bool rounds = context_.activations != DType::f32;
    const TensorView dstream = rows(DType::f32, config.d_model);
    const TensorView dadded = rounds ? rows(context_.activations, config.d_model) : dstream;
    const TensorView dnormed = rows(context_.activations, config.d_model);
    const TensorView dlogits = rounds ? rows(context_.activations, config.vocab_size) : logits_;
    ops::cross_entropy_backward(context_, {.logits = logits_,
                                           .targets = batch_.targets,
                                           .weight = batch_.weight,
                                           .scale_there = scale,
                                           .dlogits = dlogits});
    ops::linear_backward(context_, {.x = normed_,
                                    .weight = weight(params_.head()),
                                    .dy = dlogits,
                                    .dx = dnormed,
                                    .dweight = gradients.head(),
                                    .dbias = {}});
    ops::rms_norm_backward(context_, {.residual_out = residual_,
                                      .weight = weight(params_.norm_f()),
                                      .rstd = rstd_,
                                      .dy = dnormed,
                                      .dresidual_out = {},
                                      .dx = dstream,
                                      .dx_bf16 = rounds ? dadded : TensorView(),
                                      .dweight = gradients.of(params_.norm_f())});
    for (std::int64_t layer = config.n_layer - 1; layer >= 0; --layer) {
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
                             layout_.ssm(states_in, layer), dstream, dadded, dstates, window,
                             gradients);
    }
    if (batch_.input_gradient) {
        copy(context_.queue, dstream, batch_.input_gradient);
    }
    ops::embedding_backward(
        context_, {.ids = batch_.ids, .dy = dstream, .dtable = gradients.of(params_.embedding())});
}

/// Chunk by chunk without keeping anything but the loss, and `scan_starts` if given; the states go
/// on in `bank`.
void read_chunk(ops::Context& context,
                const Model& model,
                const TrainBatch& batch,
                StateBank& bank,
                TensorView scan_starts,
                TensorView loss_sum) {
    const StepMemory::Scope scope(context.step);
    const TensorView logits = context.step.take(
        DType::f32, {batch.ids.extent(0), batch.ids.extent(1), model.config().vocab_size});
    forward_logits(context, model, {batch.ids, {}, {}, true, scan_starts}, bank, logits);
    ops::cross_entropy_forward(context, {.logits = logits,
                                         .targets = batch.targets,
                                         .weight = batch.weight,
                                         .support = {},
                                         .loss = {},
                                         .best = {},
                                         .loss_sum = loss_sum});
}

void check_batch(const TrainBatch& batch, const StateBank& states, std::int64_t chunk) {
    const Shape& ids = batch.ids.shape();
    MAMBASE_REQUIRE(ids.rank() == 2 && ids[0] == states.lanes(), ErrorCode::shape,
                    concat("ids are ", ids.text(), " for ", states.lanes(), " lanes"));
    MAMBASE_REQUIRE(batch.targets.shape() == ids && batch.weight.shape() == ids, ErrorCode::shape,
                    concat("targets are ", batch.targets.shape().text(), " and weights ",
                           batch.weight.shape().text(), " for ids ", ids.text()));
    MAMBASE_REQUIRE(!batch.input_gradient || ids[0] == 1, ErrorCode::shape,
                    "the gradient by the inputs is given for one lane alone");
    MAMBASE_REQUIRE(chunk >= 1, ErrorCode::usage, concat("a chunk of ", chunk, " positions"));
}

}  // namespace

Gradients::Gradients(const Model& model, DeviceQueue& queue)
    : queue_(&queue),
      size_(model.params().size()),
      head_(model.params().head()),
      tied_(model.config().tie_embeddings) {
    constexpr std::int64_t kAligned = 8;  // 64 bytes
    std::int64_t count = 0;
    const auto add = [&](const Shape& shape) {
        places_.push_back({count, shape});
        count = round_up(count + shape.count(), kAligned);
    };
    for (const Param& param : model.params()) {
        add(param.shape);
    }
    if (tied_) {
        add(model.params()[head_].shape);
    }
    all_ = Tensor(queue.memory(), DType::f64, {count}, "gradients");
    zero();
}

void Gradients::zero() {
    mambase::zero(*queue_, all_.view());
}

void Gradients::join_head(ops::Context& context) {
    if (tied_) {
        ops::add(context, {.x = head(), .y = of(head_)});
        mambase::zero(*queue_, head());
    }
}

double Gradients::norm(ops::Context& context) const {
    const StepMemory::Scope device_scope(context.step);
    const StepMemory::Scope host_scope(context.host);
    const TensorView sum = context.step.take(DType::f64, {1});
    ops::norm_sq(context, {.x = all_.view(), .sum = sum});
    return std::sqrt(*static_cast<const double*>(ops::on_host(context, sum).data()));
}

std::int64_t chunks_with_scan_starts(const ops::OpTable& table,
                                     const ModelConfig& config,
                                     std::int64_t lanes,
                                     std::int64_t length,
                                     std::int64_t chunk) {
    const std::int64_t bytes = config.n_layer * scan_starts_bytes(table, config, lanes, chunk);
    return bytes > 0 ? std::min(ceil_div(length, chunk) - 1, kMostScanStarts / bytes) : 0;
}

double training_step(ops::Context& context,
                     const Model& model,
                     const TrainBatch& batch,
                     std::int64_t chunk,
                     double scale,
                     StateBank& states,
                     Gradients& gradients) {
    const StepMemory::Scope device_scope(context.step);
    const StepMemory::Scope host_scope(context.host);
    const TensorView scale_here = context.host.take(DType::f64, {1});
    *static_cast<double*>(scale_here.data()) = scale;
    const TensorView sums = context.step.take(DType::f64, {states.lanes() + 1});
    ask_training_step(context, model, batch, chunk, ops::on_device(context, scale_here), states,
                      gradients, sums);
    return training_loss(context, states, ops::on_host(context, sums));
}

double training_loss(ops::Context& context, const StateBank& states, ConstTensorView sums) {
    const auto values = sums.as<const double, 1>();
    states.require_finite(context, values(states.lanes()));
    double total = 0.0;
    for (std::int64_t lane = 0; lane < states.lanes(); ++lane) {
        MAMBASE_REQUIRE(
            std::isfinite(values(lane)), ErrorCode::format,
            concat("the loss of lane ", lane, " is not finite: the model has diverged"));
        total += values(lane);
    }
    return total;
}

void ask_training_step(ops::Context& context,
                       const Model& model,
                       const TrainBatch& batch,
                       std::int64_t chunk,
                       ConstTensorView scale,
                       StateBank& states,
                       Gradients& gradients,
                       TensorView sums) {
    check_batch(batch, states, chunk);
    const std::int64_t length = batch.ids.extent(1);
    zero(context.queue, sums);
    if (length == 0) {
        return;
    }
    const std::int64_t step =
        chunk >= length ? length : round_up(chunk, context.table.gradient_tile);
    const std::int64_t chunks = ceil_div(length, step);
    const StepMemory::Scope scope(context.step);
    const TensorView starts = context.step.take(DType::f32, {chunks, states.layout().count()});
    const TensorView dstates = context.step.take(DType::f32, {states.layout().count()});
    const TensorView loss_sum = sums.slice(0, 0, states.lanes());
    const std::int64_t with_starts =
        chunks_with_scan_starts(context.table, model.config(), states.lanes(), length, step);
    const TensorView scan_starts =
        with_starts > 0
            ? context.step.take(DType::u8, {with_starts, model.config().n_layer,
                                            scan_starts_bytes(context.table, model.config(),
                                                              states.lanes(), step)})
            : TensorView();
    const auto scan_starts_of = [&](std::int64_t k) {
        return k < with_starts ? scan_starts.slice(0, k, k + 1)
                                     .reshape({scan_starts.extent(1), scan_starts.extent(2)})
                               : TensorView();
    };
    const auto start_of = [&](std::int64_t k) {
        return starts.slice(0, k, k + 1).reshape({states.layout().count()});
    };
    const auto batch_of = [&](std::int64_t k) {
        return positions(batch, k * step, std::min((k + 1) * step, length));
    };
    for (std::int64_t k = 0; k < chunks; ++k) {
        states.snapshot(start_of(k));
        if (k + 1 < chunks) {  // the last one is run below, with its backward
            read_chunk(context, model, batch_of(k), states, scan_starts_of(k), loss_sum);
        }
    }
    for (std::int64_t k = chunks - 1; k >= 0; --k) {
        const StepMemory::Scope chunk_scope(context.step);
        const bool last = k + 1 == chunks;
        const TrainBatch part = batch_of(k);
        ChunkPass pass(context, model, part);
        pass.forward(start_of(k), last ? states.values() : TensorView(),
                     last ? loss_sum : TensorView(), scan_starts_of(k));
        if (last) {
            states.ask_sum(context, sums.slice(0, states.lanes(), states.lanes() + 1));
        }
        pass.backward(start_of(k), last ? TensorView() : dstates, k == 0 ? TensorView() : dstates,
                      scale, length, gradients);
    }
    gradients.join_head(context);
}

}  // namespace mambase::model
