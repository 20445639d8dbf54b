#include "model/chunked_step.hpp"

#include "base/text.hpp"
#include "model/adamw.hpp"
#include "model/forward.hpp"
#include "tests/support/places.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::bytes_of;
using test::CpuContext;
using test::error_of;
using test::Place;
using test::PlacedContext;
using test::places;
using test::random_ids;
using test::random_model;
using test::small_config;

struct Batch {
    Tensor ids;
    Tensor targets;
    Tensor weight;

    TrainBatch view() const { return {ids.view(), targets.view(), weight.view()}; }
    Batch up(PlacedContext& context) const {
        return {context.up(ids.view()), context.up(targets.view()), context.up(weight.view())};
    }
};

Batch make_batch(std::int64_t lanes, std::int64_t length, std::uint64_t seed) {
    Batch out{random_ids(lanes, length, 12, seed), random_ids(lanes, length, 12, seed + 1),
              test::filled({lanes, length}, 1.0F)};
    auto* const weight = static_cast<float*>(out.weight.view().data());
    const CounterRng rng(seed, 9);
    for (std::int64_t i = 0; i < lanes * length; ++i) {
        weight[i] = static_cast<float>(rng.below(static_cast<std::uint64_t>(i), 4)) * 0.5F;
    }
    return out;
}

double loss_of(CpuContext& context, const Model& model, const TrainBatch& batch) {
    StateBank states(model.config(), batch.ids.extent(0), host_queue());
    Gradients gradients(model, host_queue());
    return training_step(*context, model, batch, batch.ids.extent(1), 1.0, states, gradients);
}

/// Σ weight·loss of 12 scores a position, in double precision.
double loss_of_logits(const Tensor& logits, const Batch& batch) {
    const auto scores = logits.view().as<const float, 3>();
    const auto targets = batch.targets.view().as<const std::uint8_t, 2>();
    const auto weight = batch.weight.view().as<const float, 2>();
    double loss = 0.0;
    for (std::int64_t lane = 0; lane < logits.shape()[0]; ++lane) {
        for (std::int64_t t = 0; t < logits.shape()[1]; ++t) {
            double total = 0.0;
            for (std::int64_t id = 0; id < 12; ++id) {
                total += std::exp(static_cast<double>(scores(lane, t, id)));
            }
            loss += static_cast<double>(weight(lane, t)) *
                    (std::log(total) - static_cast<double>(scores(lane, t, targets(lane, t))));
        }
    }
    return loss;
}

double norm_of(ConstTensorView view) {
    const auto* const values = static_cast<const double*>(view.data());
    double sum = 0.0;
    for (std::int64_t i = 0; i < view.count(); ++i) {
        sum += values[i] * values[i];
    }
    return std::sqrt(sum);
}

/// values += step·direction/‖direction‖
void move_along(Param& param, ConstTensorView direction, double step) {
    auto* const values = static_cast<float*>(param.value.view().data());
    const auto* const along = static_cast<const double*>(direction.data());
    const double scale = step / norm_of(direction);
    for (std::int64_t i = 0; i < param.shape.count(); ++i) {
        values[i] += static_cast<float>(scale * along[i]);
    }
}

}  // namespace

TEST_CASE("training step: every gradient agrees with differences of the loss") {
    for (const bool everything : {false, true}) {
        CpuContext context(2);
        Model model = random_model(small_config(everything), 21);
        const Batch batch = make_batch(2, 37, 4);
        StateBank states(model.config(), 2, host_queue());
        Gradients gradients(model, host_queue());
        training_step(*context, model, batch.view(), 37, 1.0, states, gradients);
        for (std::size_t i = 0; i < model.params().size(); ++i) {
            Param& param = model.params()[i];
            CAPTURE(everything, param.name);
            // Along the gradient itself the slope is its norm. Where it is flat the step is longer,
            // so that the change of the loss stands out of f32 rounding.
            const double slope = norm_of(gradients.of(i));
            const double step = std::clamp(1e-3 / slope, 4e-3, 0.1);
            const std::string before = bytes_of(param.value.view());
            const auto loss_at = [&](double distance) {
                move_along(param, gradients.of(i), distance);
                const double loss = loss_of(context, model, batch.view());
                std::memcpy(param.value.view().data(), before.data(), before.size());
                return loss;
            };
            CHECK((loss_at(step) - loss_at(-step)) / (2 * step) == Approx(slope).epsilon(0.01));
        }
    }
}

TEST_CASE("training step: loss, states and hidden values are those of the forward pass") {
    for (const Place& place : places()) {
        PlacedContext context(place);
        const Model model = context.up(random_model(small_config(), 3));
        const Batch batch = make_batch(2, 600, 8);
        const Batch placed = batch.up(context);
        StateBank trained(model.config(), 2, context.queue());
        Gradients gradients(model, context.queue());
        const double loss =
            training_step(*context, model, placed.view(), 256, 1.0, trained, gradients);

        StateBank read(model.config(), 2, context.queue());
        Tensor logits = context.make(DType::f32, {2, 600, 12});
        forward_logits(*context, model, {placed.ids.view(), {}, {}}, read, logits.view());
        CAPTURE(place.text());
        CHECK(bytes_of(context.down(trained.values()).view()) ==
              bytes_of(context.down(read.values()).view()));
        CHECK(loss == Approx(loss_of_logits(context.down(logits.view()), batch)).epsilon(1e-9));
    }
}

TEST_CASE("training step: gradients add up over calls, and scale with the scale") {
    CpuContext context;
    const Model model = random_model(small_config(), 3);
    const Batch batch = make_batch(1, 50, 8);
    const auto gradient = [&](int calls, double scale) {
        Gradients out(model, host_queue());
        for (int i = 0; i < calls; ++i) {
            StateBank states(model.config(), 1, host_queue());
            training_step(*context, model, batch.view(), 50, scale, states, out);
        }
        return out.norm(*context);
    };
    const double one = gradient(1, 1.0);
    CHECK(gradient(2, 1.0) == Approx(2 * one).epsilon(1e-6));
    CHECK(gradient(1, 0.25) == Approx(one / 4).epsilon(1e-5));
}

TEST_CASE("training step: targets of weight 0 are not looked at, no position is no step") {
    for (const Place& place : places()) {
        PlacedContext context(place);
        const Model model = context.up(random_model(small_config(), 3));
        Batch batch = make_batch(1, 9, 8);
        std::fill_n(static_cast<float*>(batch.weight.view().data()), 9, 0.0F);
        std::fill_n(static_cast<std::uint8_t*>(batch.targets.view().data()), 9, std::uint8_t{255});
        const Batch placed = batch.up(context);
        const TrainBatch whole = placed.view();
        StateBank states(model.config(), 1, context.queue());
        Gradients gradients(model, context.queue());
        CAPTURE(place.text());
        CHECK(training_step(*context, model, whole, 9, 1.0, states, gradients) == 0.0);
        CHECK(gradients.norm(*context) == 0.0);
        const TrainBatch none{whole.ids.slice(1, 0, 0), whole.targets.slice(1, 0, 0),
                              whole.weight.slice(1, 0, 0)};
        const std::string before = bytes_of(context.down(states.values()).view());
        CHECK(training_step(*context, model, none, 9, 1.0, states, gradients) == 0.0);
        CHECK(bytes_of(context.down(states.values()).view()) == before);
    }
}

TEST_CASE("training step: what does not fit is refused") {
    CpuContext context;
    const Model model = random_model(small_config(), 3);
    const Batch batch = make_batch(2, 9, 8);
    Gradients gradients(model, host_queue());
    StateBank one(model.config(), 1, host_queue());
    CHECK(error_of([&] { training_step(*context, model, batch.view(), 9, 1.0, one, gradients); }) ==
          "ids are [2, 9] for 1 lanes");
    StateBank two(model.config(), 2, host_queue());
    CHECK(error_of([&] { training_step(*context, model, batch.view(), 0, 1.0, two, gradients); }) ==
          "a chunk of 0 positions");
}

TEST_CASE("a model that diverges stops with layer and lane") {
    Model model = random_model(small_config(), 3);
    Param& in_proj = *model.params().find("backbone.layers.1.mixer.in_proj.weight");
    std::fill_n(static_cast<float*>(in_proj.value.view().data()), in_proj.shape.count(), 3e38F);
    for (const Place& place : places()) {
        PlacedContext context(place);
        const Model placed = context.up(model);
        const Batch batch = make_batch(2, 9, 8).up(context);
        StateBank states(model.config(), 2, context.queue());
        Gradients gradients(placed, context.queue());
        CAPTURE(place.text());
        CHECK(error_of([&] {
                  training_step(*context, placed, batch.view(), 9, 1.0, states, gradients);
              }).find("the state of layer 1 in lane 0 is no longer finite") == 0);
        states.reset();
        Tensor logits = context.make(DType::f32, {2, 9, 12});
        CHECK(
            error_of([&] {
                forward_logits(*context, placed, {batch.ids.view(), {}, {}}, states, logits.view());
            }).find("the state of layer 1 in lane 0") == 0);
    }
}

TEST_CASE("forward: a layer's stream is what the next block starts from, and no more is run") {
    CpuContext context;
    const Model model = random_model(small_config(), 3);
    const Tensor ids = random_ids(2, 30, 12, 5);
    Tensor hidden(host_allocator(), DType::f32, {2, 30, 12}, "hidden");
    for (std::int64_t layer = 0; layer <= 3; ++layer) {
        StateBank bank(model.config(), 2, host_queue());
        forward_hidden(*context, model, {ids.view(), {}, {}}, bank, layer, hidden.view());
        for (std::int64_t each = 0; each < 3; ++each) {
            const std::string states = bytes_of(bank.ssm(each));
            CHECK((states == std::string(states.size(), '\0')) == (each >= layer));
        }
    }
    StateBank bank(model.config(), 2, host_queue());
    CHECK_FALSE(error_of([&] {
                    forward_hidden(*context, model, {ids.view(), {}, {}}, bank, 4, hidden.view());
                }).empty());
    CHECK_FALSE(error_of([&] {
                    forward_hidden(*context, model, {ids.view(), {}, {}}, bank, 1,
                                   hidden.view().slice(1, 0, 5));
                }).empty());
}

TEST_CASE("AdamW: the first step moves every value by the rate, decay where it applies") {
    CpuContext context;
    Model model = random_model(small_config(), 3);
    const std::string embedding = bytes_of(model.params()[0].value.view());
    AdamWOptions options;
    options.weight_decay = 0.5;
    options.clip = 0.0;
    AdamW optimizer(model, options, host_queue());
    Gradients gradients(model, host_queue());
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        std::fill_n(static_cast<double*>(gradients.of(i).data()), gradients.of(i).count(), 2.0);
    }
    const double norm = optimizer.step(*context, model, gradients, 0.01);
    CHECK(norm == Approx(2.0 * std::sqrt(static_cast<double>(model.params().count()))));
    CHECK(optimizer.steps() == 1);
    float before = 0.0F;
    std::memcpy(&before, embedding.data(), sizeof before);
    const float after = *static_cast<const float*>(model.params()[0].value.view().data());
    CHECK(static_cast<double>(after) ==
          Approx(static_cast<double>(before) * (1.0 - 0.005) - 0.01).epsilon(1e-5));
}

TEST_CASE("AdamW: clipping scales the whole gradient, one that is not finite changes nothing") {
    CpuContext context;
    const auto moment_after = [&](double gradient, double clip) {
        Model model = random_model(small_config(), 3);
        AdamWOptions options;
        options.clip = clip;
        AdamW optimizer(model, options, host_queue());
        Gradients gradients(model, host_queue());
        *static_cast<double*>(gradients.of(0).data()) = gradient;
        optimizer.step(*context, model, gradients, 0.01);
        return *static_cast<const float*>(optimizer.m(0).data());
    };
    CHECK(moment_after(5.0, 1.0) == moment_after(1.0, 0.0));
    CHECK(moment_after(0.5, 1.0) == moment_after(0.5, 0.0));

    Model model = random_model(small_config(), 3);
    const std::string before = model.hash();
    AdamW optimizer(model, {}, host_queue());
    Gradients gradients(model, host_queue());
    *static_cast<double*>(gradients.of(1).data()) = std::numeric_limits<double>::quiet_NaN();
    CHECK(error_of([&] {
              optimizer.step(*context, model, gradients, 0.01);
          }).find("the gradient of step 1 is not finite") == 0);
    CHECK(model.hash() == before);
    CHECK(optimizer.steps() == 0);
    AdamWOptions wrong;
    wrong.beta1 = 1.0;
    wrong.clip = -1.0;
    const std::string message = error_of([&] { wrong.validate(); });
    CHECK(message.find("beta1") != std::string::npos);
    CHECK(message.find("clip") != std::string::npos);
}

}  // namespace mambase::model
