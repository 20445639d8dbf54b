// Training steps of the same shapes, one after the other.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "kernels/tensor/view.hpp"
#include "model/chunked_step.hpp"
#include "model/model.hpp"
#include "model/repeated_work.hpp"
#include "model/state_bank.hpp"

#include <cstdint>
#include <map>

namespace mambase::model {

/// training_step again and again, with the same bits; where a step is one chunk, as RepeatedWork.
class RepeatedStep {
  public:
    /// Of up to `lanes` windows of `length` positions, on the device of `queue`. All that is
    /// referred to outlives it.
    RepeatedStep(DeviceQueue& queue,
                 const Model& model,
                 std::int64_t lanes,
                 std::int64_t length,
                 std::int64_t chunk,
                 Gradients& gradients);

    /// What the next step reads, [lanes,T] of the host's memory in the types of TrainBatch. To be
    /// filled between finish() and start().
    TensorView ids() { return ids_.view(); }
    TensorView targets() { return targets_.view(); }
    TensorView weight() { return weight_.view(); }

    /// Asks for training_step of the first lanes, as many as `states` has. The host may do other
    /// work until finish(), which waits and returns or throws as training_step does.
    void start(ops::Context& context, double scale, StateBank& states);
    double finish(ops::Context& context);

  private:
    void ask(ops::Context& context, StateBank& states);

    const Model& model_;
    std::int64_t chunk_;
    Gradients& gradients_;
    Tensor ids_, targets_;                           // [lanes,T] u8
    Tensor weight_;                                  // [lanes,T] f32
    Tensor scale_;                                   // [1] f64
    Tensor sums_;                                    // [lanes + 1] f64, as of ask_training_step
    StateBank* states_ = nullptr;                    // of the step under way
    std::map<std::int64_t, RepeatedWork> repeated_;  // by lanes
};

}  // namespace mambase::model
