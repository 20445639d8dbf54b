// The head that tells classes apart: rows after the final norm, pooled over a window, through one
// linear layer.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/ops/pool.hpp"
#include "kernels/tensor/view.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"

#include <cstdint>
#include <string_view>

namespace mambase::model {

enum class HeadPool : std::uint8_t {
    mean,  // over the rows of a window that count
    last,  // of them
};
std::string_view name(HeadPool pool);

/// Of windows, G in each lane (ops::Pool's groups), as far as they have been read; on the context's
/// device.
struct PooledRows {
    TensorView sum;    // [B,G,D] f64: the sum, or the last row
    TensorView count;  // [B,G]   i64: rows that counted
};

/// How forward_pooled sums rows for a head.
ops::PoolMode pool_mode(HeadPool pool);

/// logits [B,G,C] f32 of windows that are read to their end, each of which has a row that counts.
void class_logits(ops::Context& context,
                  const Model& model,
                  const PooledRows& pooled,
                  HeadPool pool,
                  TensorView logits);

/// Windows of T positions, on the context's device.
struct ClassBatch {
    ConstTensorView ids;     // [B,T] u8
    ConstTensorView member;  // [B,T] i32: 0 for a row that counts, −1 for what is not A, C, G or T
    ConstTensorView labels;  // [B,1] u8
};

/// Adds to `gradients` the exact gradient of scale · Σ −log p(label) over the windows, the same
/// bits for every chunk length and number of threads; memory as training_step. head_only: of the
/// head alone, from a forward pass. Returns the sum in nats, by window. Throws as training_step.
double classification_step(ops::Context& context,
                           const Model& model,
                           const ClassBatch& batch,
                           HeadPool pool,
                           bool head_only,
                           std::int64_t chunk,
                           double scale,
                           Gradients& gradients);

}  // namespace mambase::model
