#include "pipelines/train_step.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/rng.hpp"
#include "model/state_bank.hpp"

#include <algorithm>
#include <cstddef>
#include <span>

namespace mambase::pipelines {

namespace {

constexpr std::uint64_t kMostDraws = 10'000;  // of one window
constexpr std::uint8_t kIdBits = 0x7F;        // of a code, without the soft mask

std::array<float, 256> weights_by_code(const io::Tokenizer& tokenizer, double mask_weight) {
    std::array<float, 256> out{};
    for (const std::uint8_t id : tokenizer.acgt()) {
        out[id] = 1.0F;
        out[id | io::kSoftMask] = static_cast<float>(mask_weight);
    }
    return out;
}

}  // namespace

TrainStep::TrainStep(const Recipe& recipe,
                     const io::SampleWindows& windows,
                     const io::Tokenizer& tokenizer,
                     const model::Model& model,
                     std::int64_t chunk,
                     Engine& engine)
    : recipe_(recipe),
      windows_(windows),
      chunk_(chunk),
      engine_(engine),
      weight_of_(weights_by_code(tokenizer, recipe.mask_weight)),
      codes_(static_cast<std::size_t>(checked_mul(recipe.batch, recipe.context + 1))),
      ids_(engine.queue().host_memory(), DType::u8, {recipe.lanes, recipe.context}, "training ids"),
      targets_(engine.queue().host_memory(),
               DType::u8,
               {recipe.lanes, recipe.context},
               "training targets"),
      weight_(engine.queue().host_memory(),
              DType::f32,
              {recipe.lanes, recipe.context},
              "training weights"),
      gradients_(model, engine.queue()) {}

TrainStep::Result TrainStep::run(std::int64_t step, TrainState& state) {
    const double weight_sum = draw(step, state.lanes);
    gradients_.zero();
    double loss_sum = 0.0;
    for (std::int64_t first = 0; first < recipe_.batch; first += recipe_.lanes) {
        const std::int64_t count = std::min(recipe_.lanes, recipe_.batch - first);
        const StepMemory::Scope scope(engine_.step());
        const model::TrainBatch batch = fill_lanes(first, count);
        std::optional<model::StateBank> fresh;
        model::StateBank& states =
            state.lanes ? state.lanes->states[static_cast<std::size_t>(first / recipe_.lanes)]
                        : fresh.emplace(state.model.config(), count, engine_.queue());
        loss_sum += model::training_step(engine_.context(), state.model, batch, chunk_,
                                         1.0 / weight_sum, states, gradients_);
    }
    Result result;
    result.nats = loss_sum / weight_sum;
    result.lr = recipe_.schedule.at(step);
    result.gradient_norm =
        state.optimizer.step(engine_.context(), state.model, gradients_, result.lr);
    return result;
}

/// Fills codes_; returns the sum of all weights.
double TrainStep::draw(std::int64_t step, std::optional<CarriedLanes>& lanes) {
    double sum = 0.0;
    for (std::int64_t window = 0; window < recipe_.batch; ++window) {
        if (!lanes) {
            draw_window(step, window);
        } else if (io::SampledWindow& last = lanes->windows[static_cast<std::size_t>(window)];
                   !carry_on(step, window, last)) {
            last = draw_window(step, window);
            lanes->states[static_cast<std::size_t>(window / recipe_.lanes)].reset(window %
                                                                                  recipe_.lanes);
        }
        sum += weight_of(window);
    }
    return sum;
}

std::span<std::uint8_t> TrainStep::codes_of(std::int64_t window) {
    const auto size = static_cast<std::size_t>(recipe_.context + 1);
    return std::span(codes_).subspan(static_cast<std::size_t>(window) * size, size);
}

/// The weights of a window's targets.
double TrainStep::weight_of(std::int64_t window) {
    double sum = 0.0;
    for (const std::uint8_t code : codes_of(window).subspan(1)) {
        sum += static_cast<double>(weight_of_[code]);
    }
    return sum;
}

/// Moves `last` on to the window after it, if chance has it and there is one to learn from.
bool TrainStep::carry_on(std::int64_t step, std::int64_t window, io::SampledWindow& last) {
    constexpr std::uint64_t own_stream = std::uint64_t{0x4341} << 48;  // beside the other draws
    const CounterRng rng(recipe_.seed, own_stream ^ static_cast<std::uint64_t>(step));
    if (last.contig < 0 || rng.uniform(static_cast<std::uint64_t>(window)) >= recipe_.carry) {
        return false;
    }
    const auto next = windows_.after(last);
    if (!next) {
        return false;
    }
    windows_.read(*next, codes_of(window));
    if (weight_of(window) > 0.0) {
        last = *next;
        return true;
    }
    return false;
}

/// A window without a target that counts (only N, say) is drawn again, under a lane number that no
/// first draw has.
io::SampledWindow TrainStep::draw_window(std::int64_t step, std::int64_t window) {
    for (std::uint64_t attempt = 0; attempt < kMostDraws; ++attempt) {
        const std::uint64_t lane = static_cast<std::uint64_t>(window) | (attempt << 32U);
        const io::SampledWindow drawn =
            windows_.draw(recipe_.seed, static_cast<std::uint64_t>(step), lane,
                          recipe_.both_strands, codes_of(window));
        if (weight_of(window) > 0.0) {
            return drawn;
        }
    }
    throw_error(ErrorCode::usage,
                "no window has a base to learn from: all are N, or lower case with a mask weight "
                "of 0");
}

/// Inputs, targets and weights of windows [first, first + count), on the device.
model::TrainBatch TrainStep::fill_lanes(std::int64_t first, std::int64_t count) {
    const auto ids = ids_.view().as<std::uint8_t, 2>();
    const auto targets = targets_.view().as<std::uint8_t, 2>();
    const auto weight = weight_.view().as<float, 2>();
    for (std::int64_t lane = 0; lane < count; ++lane) {
        const std::uint8_t* codes =
            codes_.data() + static_cast<std::size_t>((first + lane) * (recipe_.context + 1));
        for (std::int64_t t = 0; t < recipe_.context; ++t) {
            ids(lane, t) = codes[t] & kIdBits;
            targets(lane, t) = codes[t + 1] & kIdBits;
            weight(lane, t) = weight_of_[codes[t + 1]];
        }
    }
    ops::Context& context = engine_.context();
    return {ops::on_device(context, ids_.view().slice(0, 0, count)),
            ops::on_device(context, targets_.view().slice(0, 0, count)),
            ops::on_device(context, weight_.view().slice(0, 0, count))};
}

}  // namespace mambase::pipelines
