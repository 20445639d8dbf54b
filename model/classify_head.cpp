#include "model/classify_head.hpp"

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

/// [B,G,D] f32.
ConstTensorView pooled_values(ops::Context& context, const PooledRows& pooled, HeadPool pool) {
    const TensorView out = context.step.take(DType::f32, pooled.sum.shape());
    ops::pool_values(context,
                     {.mode = pool_mode(pool), .sum = pooled.sum, .count = pooled.count, .y = out});
    return out;
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
    const StepMemory::Scope scope(context.step);
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
    const StepMemory::Scope device_scope(context.step);
    const StepMemory::Scope host_scope(context.host);
    StateBank states(model.config(), batch.ids.extent(0), context.queue);
    HeadStep head(context, model, batch, pool);
    const auto member_of = [&](const ChunkRange& part) {
        return batch.member.slice(1, part.lo, part.hi);
    };
    const auto read = [&](const ChunkRange& part, TensorView scan_starts) {
        pool_chunk(context, model,
                   {batch.ids.slice(1, part.lo, part.hi), {}, {}, true, scan_starts},
                   member_of(part), pool, states, head.pooled());
    };
    if (head_only) {
        const std::int64_t step = whole_tiles(context.table, chunk, length);
        for (std::int64_t lo = 0; lo < length; lo += step) {
            read({lo, std::min(lo + step, length)}, {});
        }
        return head.run(scale, gradients);
    }
    double nats = 0.0;
    run_chunks(
        context, model, batch.ids, chunk, states, read,
        [&](const ChunkRange& part, TensorView normed) {
            if (part.last) {
                states.require_finite(context);
                pool_rows(context, normed, member_of(part), pool, head.pooled());
                nats = head.run(scale, gradients);
            }
            return head.rows_gradient(normed, member_of(part));
        },
        {}, gradients);
    return nats;
}

}  // namespace mambase::model
