#include "model/repeated_work.hpp"

namespace mambase::model {

void RepeatedWork::ask(ops::Context& context,
                       const void* states,
                       const std::function<void()>& work) {
    const Place place{&context, states, context.step.generation(), context.step.in_use()};
    if (!(place_ == place)) {
        recording_.reset();
        place_ = place;
        work();
    } else if (recording_) {
        recording_->replay();
    } else {
        recording_ = context.queue.record(work);
    }
}

}  // namespace mambase::model
