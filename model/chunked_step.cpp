#include "model/chunked_step.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/linear.hpp"
#include "model/backbone_pass.hpp"
#include "model/forward.hpp"

#include <cmath>

namespace mambase::model {

namespace {

/// One chunk of the batch; input_gradient stays behind.
TrainBatch positions(const TrainBatch& batch, const ChunkRange& part) {
    const auto of = [&](const ConstTensorView& view) { return view.slice(1, part.lo, part.hi); };
    return {of(batch.ids), of(batch.targets), of(batch.weight), {}};
}

/// [B,T,width] of a chunk.
TensorView rows(ops::Context& context, const TrainBatch& batch, DType type, std::int64_t width) {
    return context.step.take(type, {batch.ids.extent(0), batch.ids.extent(1), width});
}

ConstTensorView head_of(const Model& model) {
    return model.params()[model.params().head()].value.view();
}

/// The gradient of a chunk's rows after the final norm, through the head that predicts the next
/// token. loss_sum [B] f64: absent for a chunk that is run again.
TensorView rows_gradient(ops::Context& context,
                         const Model& model,
                         const TrainBatch& batch,
                         ConstTensorView normed,
                         TensorView loss_sum,
                         ConstTensorView scale,
                         Gradients& gradients) {
    const ModelConfig& config = model.config();
    const TensorView logits = rows(context, batch, DType::f32, config.vocab_size);
    ops::linear_forward(context, {.x = normed, .weight = head_of(model), .bias = {}, .y = logits});
    if (loss_sum) {
        ops::cross_entropy_forward(context, {.logits = logits,
                                             .targets = batch.targets,
                                             .weight = batch.weight,
                                             .support = {},
                                             .loss = {},
                                             .best = {},
                                             .loss_sum = loss_sum});
    }
    const bool rounds = context.activations != DType::f32;
    const TensorView dnormed = rows(context, batch, context.activations, config.d_model);
    const TensorView dlogits =
        rounds ? rows(context, batch, context.activations, config.vocab_size) : logits;
    ops::cross_entropy_backward(context, {.logits = logits,
                                          .targets = batch.targets,
                                          .weight = batch.weight,
                                          .scale_there = scale,
                                          .dlogits = dlogits});
    ops::linear_backward(context, {.x = normed,
                                   .weight = head_of(model),
                                   .dy = dlogits,
                                   .dx = dnormed,
                                   .dweight = gradients.head(),
                                   .dbias = {}});
    return dnormed;
}

/// One chunk without keeping anything but the loss, and `scan_starts` if given; the states go on in
/// `bank`.
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
    return total_of_lanes(sums.slice(0, 0, states.lanes()));
}

double total_of_lanes(ConstTensorView losses) {
    const auto values = losses.as<const double, 1>();
    double total = 0.0;
    for (std::int64_t lane = 0; lane < values.extent[0]; ++lane) {
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
    zero(context.queue, sums);
    if (batch.ids.extent(1) == 0) {
        return;
    }
    const TensorView loss_sum = sums.slice(0, 0, states.lanes());
    run_chunks(
        context, model, batch.ids, chunk, states,
        [&](const ChunkRange& part, TensorView scan_starts) {
            read_chunk(context, model, positions(batch, part), states, scan_starts, loss_sum);
        },
        [&](const ChunkRange& part, TensorView normed) {
            if (part.last) {
                states.ask_sum(context, sums.slice(0, states.lanes(), states.lanes() + 1));
            }
            return rows_gradient(context, model, positions(batch, part), normed,
                                 part.last ? loss_sum : TensorView(), scale, gradients);
        },
        batch.input_gradient, gradients);
    gradients.join_head(context);
}

}  // namespace mambase::model
