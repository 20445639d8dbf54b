// Exact gradients of a window of any length in the memory of one chunk.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "kernels/tensor/view.hpp"
#include "model/model.hpp"
#include "model/state_bank.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mambase::model {

/// On the context's device.
struct TrainBatch {
    ConstTensorView ids;      // [B,T] u8, T the whole window
    ConstTensorView targets;  // [B,T] u8
    ConstTensorView weight;   // [B,T] f32; a target of weight 0 is not looked at
    /// [1,T,D] f32, optional, where there is one lane: is given the gradient by the embedded ids.
    TensorView input_gradient = {};
};

/// Sums of every parameter's gradient, in double precision.
class Gradients {
  public:
    /// All zero. On the device of `queue`, which outlives it.
    Gradients(const Model& model, DeviceQueue& queue);
    void zero();
    std::size_t size() const noexcept { return size_; }
    /// In the order and shapes of the ParamTable, f64.
    TensorView of(std::size_t index) { return part(all_.view(), places_[index]); }
    ConstTensorView of(std::size_t index) const { return part(all_.view(), places_[index]); }
    /// √Σ g² over all parameters, in an order that depends on their sizes alone; a tied head's
    /// part has been joined.
    double norm(ops::Context& context) const;

    /// Where the head's part is summed: the table's own entry, or beside it where it is tied, since
    /// the order of additions must not depend on how chunks interleave look-up and head.
    TensorView head() { return part(all_.view(), places_[tied_ ? size_ : head_]); }
    /// Adds a tied head's part to the embedding's.
    void join_head(ops::Context& context);

  private:
    struct Place {
        std::int64_t begin;
        Shape shape;
    };
    template <class AnyView>
    static AnyView part(AnyView all, const Place& place) {
        return all.slice(0, place.begin, place.begin + place.shape.count()).reshape(place.shape);
    }

    DeviceQueue* queue_;
    std::vector<Place> places_;  // in all_: of each parameter, and of a tied head
    Tensor all_;                 // f64, zeros between the places
    std::size_t size_;
    std::size_t head_;
    bool tied_;
};

/// Adds to `gradients` the exact gradient of scale · Σ weight·loss over the lanes, the same bits
/// for every chunk length and number of threads: a forward pass over all chunks that keeps only the
/// states at their starts, then from right to left each chunk again, with its backward. A chunk of
/// at least T recomputes nothing. `chunk` (>= 1) is rounded up to whole gradient tiles.
/// states: initial states of the lanes (zero for a fresh start), left as after the window; no
/// gradient flows into them. Returns Σ weight·loss in nats (by position, then lane). Throws
/// Error{format} naming layer and lane where a state is no longer finite.
double training_step(ops::Context& context,
                     const Model& model,
                     const TrainBatch& batch,
                     std::int64_t chunk,
                     double scale,
                     StateBank& states,
                     Gradients& gradients);

/// The same in two parts, for a caller who waits later (RepeatedStep). scale [1] f64: read when the
/// device gets there. sums [B+1] f64: is given Σ weight·loss of each lane, then Σ state². All on
/// the device. Where there is more than one chunk, it waits after each but the last.
void ask_training_step(ops::Context& context,
                       const Model& model,
                       const TrainBatch& batch,
                       std::int64_t chunk,
                       ConstTensorView scale,
                       StateBank& states,
                       Gradients& gradients,
                       TensorView sums);
/// What training_step returns or throws; sums: on the host.
double training_loss(ops::Context& context, const StateBank& states, ConstTensorView sums);
/// The sum of [B] f64 on the host. Throws Error{format} naming the lane whose loss is not finite.
double total_of_lanes(ConstTensorView losses);

}  // namespace mambase::model
