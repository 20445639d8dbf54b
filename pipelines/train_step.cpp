#include "pipelines/train_step.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"

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

TrainStep::Result TrainStep::run(std::int64_t step, model::Model& model, model::AdamW& optimizer) {
    if (ahead_.step != step) {
        draw(step, ahead_);
    }
    std::swap(batch_, ahead_);
    gradients_.zero();
    double loss_sum = 0.0;
    for (std::int64_t first = 0; first < recipe_.batch; first += recipe_.lanes) {
        const std::int64_t count = std::min(recipe_.lanes, recipe_.batch - first);
        if (states_ && states_->lanes() == count) {
            states_->reset();
        } else {
            states_.emplace(model.config(), count, engine_.queue());
        }
        loss_sum += run_lanes(first, count, 1.0 / batch_.weight_sum);
    }
    Result result;
    result.nats = loss_sum / batch_.weight_sum;
    result.lr = recipe_.schedule.at(step);
    result.gradient_norm = optimizer.step(engine_.context(), model, gradients_, result.lr);
    return result;
}

void TrainStep::draw(std::int64_t step, Batch& batch) {
    const std::int64_t size = recipe_.context + 1;
    batch.step = 0;
    batch.weight_sum = 0.0;
    batch.codes.resize(static_cast<std::size_t>(checked_mul(recipe_.batch, size)));
    for (std::int64_t window = 0; window < recipe_.batch; ++window) {
        batch.weight_sum += draw_window(
            step, window,
            std::span(batch.codes)
                .subspan(static_cast<std::size_t>(window * size), static_cast<std::size_t>(size)));
    }
    batch.step = step;
}

/// While the device works. An error is for the step itself to tell, which draws again then.
void TrainStep::draw_ahead(std::int64_t step) {
    if (step > recipe_.steps() || ahead_.step == step) {
        return;
    }
    try {
        draw(step, ahead_);
    } catch (const Error&) {
        ahead_.step = 0;
    }
}

/// A window without a target that counts (only N, say) is drawn again, under a lane number that no
/// first draw has.
double TrainStep::draw_window(std::int64_t step,
                              std::int64_t window,
                              std::span<std::uint8_t> codes) {
    for (std::uint64_t attempt = 0; attempt < kMostDraws; ++attempt) {
        const std::uint64_t lane = static_cast<std::uint64_t>(window) | (attempt << 32U);
        windows_.draw(recipe_.seed, static_cast<std::uint64_t>(step), lane, recipe_.both_strands,
                      codes);
        double sum = 0.0;
        for (const std::uint8_t code : codes.subspan(1)) {
            sum += static_cast<double>(weight_of_[code]);
        }
        if (sum > 0.0) {
            return sum;
        }
    }
    throw_error(ErrorCode::usage,
                "no window has a base to learn from: all are N, or lower case with a mask weight "
                "of 0");
}

/// The gradients of windows [first, first + count); returns Σ weight·loss.
double TrainStep::run_lanes(std::int64_t first, std::int64_t count, double scale) {
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
    lanes_.start(engine_.context(), scale, *states_);
    draw_ahead(batch_.step + 1);
    return lanes_.finish(engine_.context());
}

}  // namespace mambase::pipelines
