#include "pipelines/train_step.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/rng.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

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
      engine_(engine),
      weight_of_(weights_by_code(tokenizer, recipe.mask_weight)),
      gradients_(model, engine.queue()),
      lanes_(engine.queue(), model, recipe.lanes, recipe.context, chunk, gradients_) {}

TrainStep::Result TrainStep::run(std::int64_t step, TrainState& state) {
    if (ahead_.step != step) {
        draw(step, state.lanes ? state.lanes->windows : std::vector<io::SampledWindow>(), ahead_);
    }
    std::swap(batch_, ahead_);
    if (state.lanes) {
        move_lanes(*state.lanes);
    }
    gradients_.zero();
    double loss_sum = 0.0;
    for (std::int64_t first = 0; first < recipe_.batch; first += recipe_.lanes) {
        const std::int64_t count = std::min(recipe_.lanes, recipe_.batch - first);
        if (state.lanes) {
            loss_sum +=
                run_lanes(first, count, 1.0 / batch_.weight_sum,
                          state.lanes->states[static_cast<std::size_t>(first / recipe_.lanes)]);
            continue;
        }
        if (states_ && states_->lanes() == count) {
            states_->reset();
        } else {
            states_.emplace(state.model.config(), count, engine_.queue());
        }
        loss_sum += run_lanes(first, count, 1.0 / batch_.weight_sum, *states_);
    }
    Result result;
    result.nats = loss_sum / batch_.weight_sum;
    result.lr = recipe_.schedule.at(step);
    result.gradient_norm =
        state.optimizer.step(engine_.context(), state.model, gradients_, result.lr);
    return result;
}

/// Puts the lanes where this step reads, those that jump with a fresh state.
void TrainStep::move_lanes(CarriedLanes& lanes) {
    for (std::int64_t lane = 0; lane < recipe_.batch; ++lane) {
        const DrawnWindow& drawn = batch_.windows[static_cast<std::size_t>(lane)];
        lanes.windows[static_cast<std::size_t>(lane)] = drawn.window;
        if (!drawn.goes_on) {
            lanes.states[static_cast<std::size_t>(lane / recipe_.lanes)].reset(lane %
                                                                               recipe_.lanes);
        }
    }
}

/// last: the windows of the step before, [batch]; none where no lane goes on.
void TrainStep::draw(std::int64_t step, const std::vector<io::SampledWindow>& last, Batch& batch) {
    const std::int64_t size = recipe_.context + 1;
    batch.step = 0;
    batch.weight_sum = 0.0;
    batch.windows.resize(static_cast<std::size_t>(recipe_.batch));
    batch.codes.resize(static_cast<std::size_t>(checked_mul(recipe_.batch, size)));
    for (std::int64_t lane = 0; lane < recipe_.batch; ++lane) {
        const auto codes =
            std::span(batch.codes)
                .subspan(static_cast<std::size_t>(lane * size), static_cast<std::size_t>(size));
        DrawnWindow& drawn = batch.windows[static_cast<std::size_t>(lane)];
        drawn = last.empty() ? DrawnWindow()
                             : go_on(step, lane, last[static_cast<std::size_t>(lane)], codes);
        if (!drawn.goes_on) {
            drawn = draw_window(step, lane, codes);
        }
        batch.weight_sum += drawn.weight;
    }
    batch.step = step;
}

/// The next step's windows, while the device works. An error is for the step itself to tell, which
/// draws again then.
void TrainStep::draw_ahead() {
    const std::int64_t step = batch_.step + 1;
    if (step > recipe_.steps() || ahead_.step == step) {
        return;
    }
    std::vector<io::SampledWindow> last;
    if (recipe_.carry > 0.0) {
        for (const DrawnWindow& drawn : batch_.windows) {
            last.push_back(drawn.window);
        }
    }
    try {
        draw(step, last, ahead_);
    } catch (const Error&) {
        ahead_.step = 0;
    }
}

double TrainStep::weight_of(std::span<const std::uint8_t> codes) const {
    double sum = 0.0;
    for (const std::uint8_t code : codes.subspan(1)) {
        sum += static_cast<double>(weight_of_[code]);
    }
    return sum;
}

/// The window after `last`, if chance has it and there is one to learn from.
TrainStep::DrawnWindow TrainStep::go_on(std::int64_t step,
                                        std::int64_t lane,
                                        const io::SampledWindow& last,
                                        std::span<std::uint8_t> codes) {
    constexpr std::uint64_t own_stream = std::uint64_t{0x4341} << 48;  // beside the other draws
    const CounterRng rng(recipe_.seed, own_stream ^ static_cast<std::uint64_t>(step));
    DrawnWindow drawn;
    if (last.contig < 0 || rng.uniform(static_cast<std::uint64_t>(lane)) >= recipe_.carry) {
        return drawn;
    }
    if (const auto next = windows_.after(last)) {
        windows_.read(*next, codes);
        drawn = {*next, true, weight_of(codes)};
        drawn.goes_on = drawn.weight > 0.0;
    }
    return drawn;
}

/// A window without a target that counts (only N, say) is drawn again, under a lane number that no
/// first draw has.
TrainStep::DrawnWindow TrainStep::draw_window(std::int64_t step,
                                              std::int64_t lane,
                                              std::span<std::uint8_t> codes) {
    for (std::uint64_t attempt = 0; attempt < kMostDraws; ++attempt) {
        const std::uint64_t place = static_cast<std::uint64_t>(lane) | (attempt << 32U);
        const io::SampledWindow window = windows_.draw(
            recipe_.seed, static_cast<std::uint64_t>(step), place, recipe_.both_strands, codes);
        if (const double weight = weight_of(codes); weight > 0.0) {
            return {window, false, weight};
        }
    }
    throw_error(ErrorCode::usage,
                "no window has a base to learn from: all are N, or lower case with a mask weight "
                "of 0");
}

/// The gradients of windows [first, first + count); returns Σ weight·loss.
double TrainStep::run_lanes(std::int64_t first,
                            std::int64_t count,
                            double scale,
                            model::StateBank& states) {
    const auto ids = lanes_.ids().as<std::uint8_t, 2>();
    const auto targets = lanes_.targets().as<std::uint8_t, 2>();
    const auto weight = lanes_.weight().as<float, 2>();
    for (std::int64_t lane = 0; lane < count; ++lane) {
        const std::uint8_t* codes =
            batch_.codes.data() + static_cast<std::size_t>((first + lane) * (recipe_.context + 1));
        for (std::int64_t t = 0; t < recipe_.context; ++t) {
            ids(lane, t) = codes[t] & kIdBits;
            targets(lane, t) = codes[t + 1] & kIdBits;
            weight(lane, t) = weight_of_[codes[t + 1]];
        }
    }
    lanes_.start(engine_.context(), scale, states);
    draw_ahead();
    return lanes_.finish(engine_.context());
}

}  // namespace mambase::pipelines
