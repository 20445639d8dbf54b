#include "model/repeated_step.hpp"

#include "base/error.hpp"

namespace mambase::model {

RepeatedStep::RepeatedStep(DeviceQueue& queue,
                           const Model& model,
                           std::int64_t lanes,
                           std::int64_t length,
                           std::int64_t chunk,
                           Gradients& gradients)
    : model_(model),
      chunk_(chunk),
      gradients_(gradients),
      ids_(queue.host_memory(), DType::u8, {lanes, length}, "training ids"),
      targets_(queue.host_memory(), DType::u8, {lanes, length}, "training targets"),
      weight_(queue.host_memory(), DType::f32, {lanes, length}, "training weights"),
      scale_(queue.host_memory(), DType::f64, {1}, "scale of a step"),
      sums_(queue.host_memory(), DType::f64, {lanes + 1}, "sums of a step") {}

void RepeatedStep::start(ops::Context& context, double scale, StateBank& states) {
    *static_cast<double*>(scale_.view().data()) = scale;
    states_ = &states;
    if (chunk_ < ids_.shape()[1]) {  // more than one chunk: the host waits between them
        ask(context, states);
        return;
    }
    repeated_[states.lanes()].ask(context, states.values().data(), [&] { ask(context, states); });
}

void RepeatedStep::ask(ops::Context& context, StateBank& states) {
    const StepMemory::Scope scope(context.step);
    const std::int64_t lanes = states.lanes();
    const TrainBatch batch{ops::on_device(context, ids_.view().slice(0, 0, lanes)),
                           ops::on_device(context, targets_.view().slice(0, 0, lanes)),
                           ops::on_device(context, weight_.view().slice(0, 0, lanes))};
    const TensorView sums = context.step.take(DType::f64, {lanes + 1});
    ask_training_step(context, model_, batch, chunk_, ops::on_device(context, scale_.view()),
                      states, gradients_, sums);
    copy(context.queue, sums, sums_.view().slice(0, 0, lanes + 1));
}

double RepeatedStep::finish(ops::Context& context) {
    MAMBASE_ASSERT(states_ != nullptr);
    context.queue.wait();
    return training_loss(context, *states_, sums_.view().slice(0, 0, states_->lanes() + 1));
}

}  // namespace mambase::model
