// The model read from left to right, chunk by chunk, keeping nothing but states.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/ops/pool.hpp"
#include "kernels/tensor/view.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"

#include <cstdint>

namespace mambase::model {

/// After the final norm.
inline constexpr std::int64_t kLastLayer = -1;

/// T positions of B lanes, on the context's device; any T >= 0. How a record is cut into chunks
/// does not change a bit of what comes out (on a device: chunks of whole gradient tiles).
struct Chunk {
    ConstTensorView ids;          // [B,T] u8, each below V
    ConstTensorView valid;        // [B]   i64, optional: positions that count, default T
    ConstTensorView segment;      // [B,T] i32, optional: the state resets where it changes
    bool for_training = false;    // as ops::SelectiveScan has it
    TensorView scan_starts = {};  // [L,bytes] u8, optional, in training: SelectiveScan::starts
    bool check_states = true;     // false: the caller looks at them later, or at what comes out,
                                  // which a state that is not finite spoils
};

/// Runs one chunk from the states in `bank`, which go on to after the chunk (through every layer
/// that `layer` needs and no further). layer: 0 = token embedding, k = residual stream after block
/// k, kLastLayer = after the final norm. hidden [B,T,D] f32 (after the final norm also the
/// context's activations), contiguous; rows from valid on are unspecified. Throws Error{format}
/// naming layer and lane where a state is no longer finite, unless the chunk says not to look.
void forward_hidden(ops::Context& context,
                    const Model& model,
                    const Chunk& chunk,
                    StateBank& bank,
                    std::int64_t layer,
                    TensorView hidden);

/// Groups of a chunk's rows, as ops::Pool has them; all lanes are one, one after the other.
struct RowPool {
    ConstTensorView group;  // [B,T] i32
    ops::PoolMode mode = ops::PoolMode::mean;
    TensorView sum;    // [1,G,D] f64
    TensorView count;  // [1,G]   i64
};
void forward_pooled(ops::Context& context,
                    const Model& model,
                    const Chunk& chunk,
                    StateBank& bank,
                    std::int64_t layer,
                    const RowPool& pool);

/// The same through the head: logits [B,T,V] f32, contiguous.
void forward_logits(ops::Context& context,
                    const Model& model,
                    const Chunk& chunk,
                    StateBank& bank,
                    TensorView logits);

/// The tokens that a chunk's positions are to predict, and how well they are.
struct NextTokens {
    ConstTensorView targets;  // [B,T] u8
    ConstTensorView weight;   // [B,T] f32: 0 where a target does not count
    ConstTensorView support;  // [S]   u8, optional: ids to normalise over. A target that counts is
                              // one of them
    TensorView loss;          // [B,T] f64: -log p in nats, 0 where the weight is
    TensorView best;          // [B,T] u8: the most likely id of the support
    TensorView logits{};      // [B,T,V] f32, optional: what the probabilities are made from
};
void forward_losses(ops::Context& context,
                    const Model& model,
                    const Chunk& chunk,
                    StateBank& bank,
                    const NextTokens& next);

}  // namespace mambase::model
