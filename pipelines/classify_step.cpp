#include "pipelines/classify_step.hpp"

#include <algorithm>

namespace mambase::pipelines {

namespace {

constexpr std::uint8_t kIdBits = 0x7F;  // of a code, without the soft mask

}  // namespace

ClassifyStep::ClassifyStep(const ClassifyRecipe& recipe,
                           const LabelledSampler& sampler,
                           const io::Tokenizer& tokenizer,
                           const model::Model& model,
                           std::int64_t chunk,
                           Engine& engine)
    : recipe_(recipe),
      sampler_(sampler),
      tokenizer_(tokenizer),
      chunk_(chunk),
      engine_(engine),
      codes_(static_cast<std::size_t>(recipe.window)),
      ids_(engine.queue().host_memory(), DType::u8, {recipe.lanes, recipe.window}, "training ids"),
      labels_(engine.queue().host_memory(), DType::u8, {recipe.lanes, 1}, "training labels"),
      member_(engine.queue().host_memory(),
              DType::i32,
              {recipe.lanes, recipe.window},
              "rows that are pooled"),
      gradients_(model, engine.queue()) {}

ClassifyStep::Result ClassifyStep::run(std::int64_t step,
                                       model::Model& model,
                                       model::AdamW& optimizer) {
    gradients_.zero();
    const auto windows = static_cast<double>(recipe_.batch);
    double loss_sum = 0.0;
    for (std::int64_t first = 0; first < recipe_.batch; first += recipe_.lanes) {
        const std::int64_t count = std::min(recipe_.lanes, recipe_.batch - first);
        const StepMemory::Scope scope(engine_.step());
        const model::ClassBatch batch = fill_lanes(step, first, count);
        loss_sum += model::classification_step(engine_.context(), model, batch, recipe_.pool,
                                               recipe_.freeze, chunk_, 1.0 / windows, gradients_);
    }
    Result result;
    result.nats = loss_sum / windows;
    result.lr = recipe_.schedule.at(step);
    result.gradient_norm = optimizer.step(engine_.context(), model, gradients_, result.lr);
    return result;
}

/// Windows [first, first + count) of the step, on the device.
model::ClassBatch ClassifyStep::fill_lanes(std::int64_t step,
                                           std::int64_t first,
                                           std::int64_t count) {
    const auto ids = ids_.view().as<std::uint8_t, 2>();
    const auto member = member_.view().as<std::int32_t, 2>();
    const auto labels = labels_.view().as<std::uint8_t, 2>();
    for (std::int64_t lane = 0; lane < count; ++lane) {
        const std::int64_t label =
            sampler_.draw(recipe_.seed, static_cast<std::uint64_t>(step),
                          static_cast<std::uint64_t>(first + lane), recipe_.both_strands, codes_);
        std::transform(codes_.begin(), codes_.end(), &ids(lane),
                       [](std::uint8_t code) { return static_cast<std::uint8_t>(code & kIdBits); });
        std::transform(codes_.begin(), codes_.end(), &member(lane),
                       [&](std::uint8_t code) { return tokenizer_.is_acgt(code) ? 0 : -1; });
        labels(lane, 0) = static_cast<std::uint8_t>(label);
    }
    ops::Context& context = engine_.context();
    return {ops::on_device(context, ids_.view().slice(0, 0, count)),
            ops::on_device(context, member_.view().slice(0, 0, count)),
            ops::on_device(context, labels_.view().slice(0, 0, count))};
}

}  // namespace mambase::pipelines
