#include "model/chunked_step.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/linear.hpp"
#include "kernels/ops/op_table.hpp"
#include "kernels/ops/selective_scan.hpp"
#include "model/backbone_pass.hpp"
#include "model/forward.hpp"

#include <algorithm>
#include <cmath>

namespace mambase::model {

namespace {

// Of all chunks together; what it does not hold is computed again.
constexpr std::int64_t kMostScanStarts = std::int64_t{1} << 29;

/// One chunk of the batch, positions [lo, hi).
TrainBatch positions(const TrainBatch& batch, std::int64_t lo, std::int64_t hi) {
    return {batch.ids.slice(1, lo, hi), batch.targets.slice(1, lo, hi),
            batch.weight.slice(1, lo, hi),
            batch.input_gradient ? batch.input_gradient.slice(1, lo, hi) : TensorView()};
}

/// A chunk with the head that predicts the next token.
class ChunkPass {
  public:
    /// window: positions of the whole that `batch` is a chunk of.
    ChunkPass(ops::Context& context,
              const Model& model,
              const TrainBatch& batch,
              std::int64_t window)
        : context_(context),
          model_(model),
          batch_(batch),
          backbone_(context, model, batch.ids, window) {}

    /// states_out: absent for a chunk that is run again. loss_sum [B] f64: absent likewise.
    /// scan_starts: as BackbonePass has them.
    void forward(ConstTensorView states_in,
                 TensorView states_out,
                 TensorView loss_sum,
                 TensorView scan_starts);
    /// dstates as BackbonePass has them.
    void backward(ConstTensorView states_in,
                  TensorView dstates_out,
                  TensorView dstates_in,
                  ConstTensorView scale,
                  Gradients& gradients);

  private:
    TensorView rows(DType type, std::int64_t width) const {
        return context_.step.take(type, {batch_.ids.extent(0), batch_.ids.extent(1), width});
    }
    ConstTensorView head() const { return model_.params()[model_.params().head()].value.view(); }

    ops::Context& context_;
    const Model& model_;
    const TrainBatch& batch_;
    BackbonePass backbone_;
    TensorView logits_;
};

void ChunkPass::forward(ConstTensorView states_in,
                        TensorView states_out,
                        TensorView loss_sum,
                        TensorView scan_starts) {
    backbone_.forward(states_in, states_out, scan_starts);
    logits_ = rows(DType::f32, model_.config().vocab_size);
    ops::linear_forward(context_,
                        {.x = backbone_.normed(), .weight = head(), .bias = {}, .y = logits_});
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
                         Gradients& gradients) {
    const bool rounds = context_.activations != DType::f32;
    const TensorView dnormed = rows(context_.activations, model_.config().d_model);
    const TensorView dlogits =
        rounds ? rows(context_.activations, model_.config().vocab_size) : logits_;
    ops::cross_entropy_backward(context_, {.logits = logits_,
                                           .targets = batch_.targets,
                                           .weight = batch_.weight,
                                           .scale_there = scale,
                                           .dlogits = dlogits});
    ops::linear_backward(context_, {.x = backbone_.normed(),
                                    .weight = head(),
                                    .dy = dlogits,
                                    .dx = dnormed,
                                    .dweight = gradients.head(),
                                    .dbias = {}});
    backbone_.backward(dnormed, states_in, dstates_out, dstates_in, batch_.input_gradient,
                       gradients);
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
    const std::int64_t bytes =
        config.n_layer *
        ops::selective_scan_starts_bytes(table, lanes, chunk, config.d_inner, config.d_state);
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
    const ScanStarts scan_starts(context, model.config(), states.lanes(), length, step);
    const auto start_of = [&](std::int64_t k) {
        return starts.slice(0, k, k + 1).reshape({states.layout().count()});
    };
    const auto batch_of = [&](std::int64_t k) {
        return positions(batch, k * step, std::min((k + 1) * step, length));
    };
    for (std::int64_t k = 0; k < chunks; ++k) {
        states.snapshot(start_of(k));
        if (k + 1 < chunks) {  // the last one is run below, with its backward
            read_chunk(context, model, batch_of(k), states, scan_starts.of(k), loss_sum);
        }
    }
    for (std::int64_t k = chunks - 1; k >= 0; --k) {
        const StepMemory::Scope chunk_scope(context.step);
        const bool last = k + 1 == chunks;
        const TrainBatch part = batch_of(k);
        ChunkPass pass(context, model, part, length);
        pass.forward(start_of(k), last ? states.values() : TensorView(),
                     last ? loss_sum : TensorView(), scan_starts.of(k));
        if (last) {
            states.ask_sum(context, sums.slice(0, states.lanes(), states.lanes() + 1));
        }
        pass.backward(start_of(k), last ? TensorView() : dstates, k == 0 ? TensorView() : dstates,
                      scale, gradients);
    }
    gradients.join_head(context);
}

}  // namespace mambase::model
