#include "pipelines/bench_packed.hpp"

#include "base/rng.hpp"
#include "genomics_io/tokenizer.hpp"
#include "model/forward.hpp"

#include <algorithm>

namespace mambase::pipelines {

namespace {

/// [B,T] of a call: what LanePacking comes to where all windows have one length.
Shape call_shape(std::int64_t tile, std::int64_t window, std::int64_t bases, std::int64_t rows) {
    const std::int64_t in_lane = std::max<std::int64_t>(std::min(tile, bases) / window, 1);
    const std::int64_t length = in_lane * window;
    return {std::max<std::int64_t>(std::min(rows, bases) / length, 1), length};
}

}  // namespace

PackedForward::PackedForward(Engine& engine,
                             const model::Model& model,
                             std::int64_t window,
                             std::int64_t bases,
                             std::int64_t rows,
                             std::uint64_t seed)
    : model_(model),
      shape_(call_shape(engine.run_tile(), window, bases, rows)),
      calls_(std::max<std::int64_t>(bases / shape_.count(), 1)),
      ids_(engine.queue().memory(), DType::u8, shape_, "bench sequence"),
      segment_(engine.queue().memory(), DType::i32, shape_, "bench segments"),
      states_(model.config(), shape_[0], engine.queue()) {
    Tensor ids(engine.queue().host_memory(), DType::u8, shape_, "bench sequence");
    Tensor segment(engine.queue().host_memory(), DType::i32, shape_, "bench segments");
    const CounterRng rng(seed, 0);
    const auto acgt = io::Tokenizer::named("dna").acgt();
    for (std::int64_t i = 0; i < shape_.count(); ++i) {
        static_cast<std::uint8_t*>(ids.view().data())[i] =
            acgt[rng.below(static_cast<std::uint64_t>(i), 4)];
        static_cast<std::int32_t*>(segment.view().data())[i] =
            static_cast<std::int32_t>(i / window);
    }
    copy(engine.queue(), ids.view(), ids_.view());
    copy(engine.queue(), segment.view(), segment_.view());
    engine.queue().wait();
}

void PackedForward::forward(ops::Context& context) {
    for (std::int64_t call = 0; call < calls_; ++call) {
        states_.reset();
        const StepMemory::Scope scope(context.step);
        const TensorView logits =
            context.step.take(DType::f32, {shape_[0], shape_[1], model_.config().vocab_size});
        model::forward_logits(context, model_, {ids_.view(), {}, segment_.view()}, states_, logits);
    }
}

}  // namespace mambase::pipelines
