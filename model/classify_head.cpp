#include "model/classify_head.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/linear.hpp"
#include "kernels/ops/op_table.hpp"
#include "model/backbone_pass.hpp"

#include <algorithm>

namespace mambase::model {

namespace {

void pool_rows(ops::Context& context,
               ConstTensorView rows,
               ConstTensorView member,
               HeadPool pool,
               const PooledRows& pooled) {
    ops::pool_forward(context, {.x = rows,
                                .group = member,
                                .mode = pool_mode(pool),
                                .sum = pooled.sum,
                                .count = pooled.count});
}

/// [B,G,D] f32: of a mean, the sum over the count.
ConstTensorView pooled_values(ops::Context& context, const PooledRows& pooled, HeadPool pool) {
    const TensorView out = context.host.take(DType::f32, pooled.sum.shape());
    const Shape rows{pooled.count.count(), pooled.sum.extent(2)};
    const auto sums = ops::on_host(context, pooled.sum).reshape(rows).as<const double, 2>();
    const auto counts = ops::on_host(context, pooled.count)
                            .reshape({pooled.count.count()})
                            .as<const std::int64_t, 1>();
    const auto values = out.reshape(rows).as<float, 2>();
    for (std::int64_t i = 0; i < values.extent[0]; ++i) {
        MAMBASE_ASSERT(counts(i) > 0);
        const double divisor = pool == HeadPool::mean ? static_cast<double>(counts(i)) : 1.0;
        std::transform(&sums(i), &sums(i) + values.extent[1], &values(i),
                       [&](double sum) { return static_cast<float>(sum / divisor); });
    }
    return ops::on_device(context, out);
}

void head_forward(ops::Context& context,
                  const Model& model,
                  ConstTensorView values,
                  TensorView logits) {
    const ParamTable& params = model.params();
    MAMBASE_REQUIRE(model.config().n_classes > 0, ErrorCode::shape, "the model has no classes");
    ops::linear_forward(context, {.x = values,
                                  .weight = params[params.class_weight()].value.view(),
                                  .bias = params[params.class_bias()].value.view(),
                                  .y = logits});
}

/// Loss and gradient of the head.
class HeadStep {
  public:
    HeadStep(ops::Context& context, const Model& model, const ClassBatch& batch, HeadPool pool)
        : context_(context),
          model_(model),
          batch_(batch),
          pool_(pool),
          pooled_{take(DType::f64, {lanes(), 1, width()}), take(DType::i64, {lanes(), 1})},
          dvalues_(take(DType::f32, {lanes(), 1, width()})),
          pending_(take(DType::i64, {lanes(), 1})) {
        zero(context.queue, pooled_.sum);
        zero(context.queue, pooled_.count);
        zero(context.queue, pending_);
    }

    const PooledRows& pooled() const { return pooled_; }

    /// Once all rows are pooled. Returns Σ −log p(label).
    double run(double scale, Gradients& gradients) {
        const ParamTable& params = model_.params();
        const ConstTensorView values = pooled_values(context_, pooled_, pool_);
        const TensorView logits = take(DType::f32, {lanes(), 1, model_.config().n_classes});
        const TensorView loss = take(DType::f64, {lanes(), 1});
        head_forward(context_, model_, values, logits);
        ops::cross_entropy_forward(context_, {.logits = logits,
                                              .targets = batch_.labels,
                                              .weight = {},
                                              .support = {},
                                              .loss = loss,
                                              .best = {},
                                              .loss_sum = {}});
        const double nats = total_of_lanes(ops::on_host(context_, loss).reshape({lanes()}));
        ops::cross_entropy_backward(context_, {.logits = logits,
                                               .targets = batch_.labels,
                                               .weight = {},
                                               .scale = scale,
                                               .dlogits = logits});
        ops::linear_backward(context_, {.x = values,
                                        .weight = params[params.class_weight()].value.view(),
                                        .dy = logits,
                                        .dx = dvalues_,
                                        .dweight = gradients.of(params.class_weight()),
                                        .dbias = gradients.of(params.class_bias())});
        return nats;
    }

    /// The gradient of a chunk's rows; chunks come from right to left.
    TensorView rows_gradient(ConstTensorView rows, ConstTensorView member) {
        const TensorView out = take(rows.dtype(), rows.shape());
        ops::pool_backward(context_, {.x = rows,
                                      .group = member,
                                      .mode = pool_mode(pool_),
                                      .sum = pooled_.sum,
                                      .count = pooled_.count,
                                      .dy = dvalues_,
                                      .dx = out,
                                      .pending = pending_});
        return out;
    }

  private:
    TensorView take(DType type, const Shape& shape) const {
        return context_.step.take(type, shape);
    }
    std::int64_t lanes() const { return batch_.ids.extent(0); }
    std::int64_t width() const { return model_.config().d_model; }

    ops::Context& context_;
    const Model& model_;
    const ClassBatch& batch_;
    HeadPool pool_;
    PooledRows pooled_;
    TensorView dvalues_;
    TensorView pending_;
};

/// Reads one chunk and pools its rows.
void pool_chunk(ops::Context& context,
                const Model& model,
                const Chunk& chunk,
                ConstTensorView member,
                HeadPool pool,
                StateBank& bank,
                const PooledRows& pooled) {
    const StepMemory::Scope scope(context.step);
    const TensorView hidden = context.step.take(
        context.activations, {chunk.ids.extent(0), chunk.ids.extent(1), model.config().d_model});
    forward_hidden(context, model, chunk, bank, kLastLayer, hidden);
    pool_rows(context, hidden, member, pool, pooled);
}

ClassBatch positions(const ClassBatch& batch, std::int64_t lo, std::int64_t hi) {
    return {batch.ids.slice(1, lo, hi), batch.member.slice(1, lo, hi), batch.labels};
}

}  // namespace

std::string_view name(HeadPool pool) {
    return pool == HeadPool::mean ? "mean" : "last";
}

ops::PoolMode pool_mode(HeadPool pool) {
    return pool == HeadPool::mean ? ops::PoolMode::mean : ops::PoolMode::last;
}

void class_logits(ops::Context& context,
                  const Model& model,
                  const PooledRows& pooled,
                  HeadPool pool,
                  TensorView logits) {
    const StepMemory::Scope device_scope(context.step);
    const StepMemory::Scope host_scope(context.host);
    head_forward(context, model, pooled_values(context, pooled, pool), logits);
}

double classification_step(ops::Context& context,
                           const Model& model,
                           const ClassBatch& batch,
                           HeadPool pool,
                           bool head_only,
                           std::int64_t chunk,
                           double scale,
                           Gradients& gradients) {
    MAMBASE_REQUIRE(chunk >= 1, ErrorCode::usage, concat("a chunk of ", chunk, " positions"));
    const std::int64_t length = batch.ids.extent(1);
    const std::int64_t step =
        chunk >= length ? length : round_up(chunk, context.table.gradient_tile);
    const std::int64_t chunks = ceil_div(length, step);
    const StepMemory::Scope device_scope(context.step);
    const StepMemory::Scope host_scope(context.host);
    StateBank states(model.config(), batch.ids.extent(0), context.queue);
    const std::int64_t state_count = states.layout().count();
    const TensorView starts = context.step.take(DType::f32, {head_only ? 0 : chunks, state_count});
    const TensorView dstates = context.step.take(DType::f32, {head_only ? 0 : state_count});
    const auto start_of = [&](std::int64_t k) {
        return starts.slice(0, k, k + 1).reshape({state_count});
    };
    const auto batch_of = [&](std::int64_t k) {
        return positions(batch, k * step, std::min((k + 1) * step, length));
    };
    const ScanStarts scan_starts(context, model.config(), batch.ids.extent(0),
                                 head_only ? step : length, step);
    HeadStep head(context, model, batch, pool);
    // The last chunk is run below, with its backward.
    for (std::int64_t k = 0; k < (head_only ? chunks : chunks - 1); ++k) {
        if (!head_only) {
            states.snapshot(start_of(k));
        }
        const ClassBatch part = batch_of(k);
        pool_chunk(context, model, {part.ids, {}, {}, true, scan_starts.of(k)}, part.member, pool,
                   states, head.pooled());
    }
    if (head_only) {
        return head.run(scale, gradients);
    }
    states.snapshot(start_of(chunks - 1));
    double nats = 0.0;
    for (std::int64_t k = chunks - 1; k >= 0; --k) {
        const StepMemory::Scope chunk_scope(context.step);
        const bool last = k + 1 == chunks;
        const ClassBatch part = batch_of(k);
        BackbonePass pass(context, model, part.ids, length);
        pass.forward(start_of(k), last ? states.values() : TensorView(), scan_starts.of(k));
        if (last) {
            states.require_finite(context);
            pool_rows(context, pass.normed(), part.member, pool, head.pooled());
            nats = head.run(scale, gradients);
        }
        pass.backward(head.rows_gradient(pass.normed(), part.member), start_of(k),
                      last ? TensorView() : dstates, k == 0 ? TensorView() : dstates, {},
                      gradients);
    }
    return nats;
}

}  // namespace mambase::model
