// A value does not depend on how it was computed: the same bytes for every chunk, company, thread.
#include "base/text.hpp"
#include "model/adamw.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "model/repeated_step.hpp"
#include "tests/invariance/recurrence.hpp"
#include "tests/support/places.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::bytes_of;
using test::Place;
using test::PlacedContext;
using test::places;
using test::random_ids;
using test::random_model;
using test::small_config;

/// How far bf16 activations may take three blocks from the truth: some ten roundings of 2^-8 (half
/// of that on average) one after the other, forward; about twice as many for a gradient.
constexpr double kBf16Forward = 0.02;
constexpr double kBf16Gradient = 0.05;

/// Lengths and chunks that show whether cutting changes anything; a device cuts at whole tiles.
struct Cuts {
    std::int64_t length;
    std::vector<std::int64_t> chunks;
};
Cuts cuts_of(const Place& place) {
    return place.is_device() ? Cuts{2 * place.tile() + 1500, {place.tile(), 2 * place.tile()}}
                             : Cuts{2000, {1, 3, 64, 1000}};
}

/// The logits of all lanes read in chunks of that length, and the states that are left.
std::string read_in_chunks(const Place& place,
                           const Model& model,
                           ConstTensorView all_ids,
                           std::int64_t chunk,
                           int threads,
                           std::int64_t first_chunk = 0) {
    PlacedContext context(place, threads);
    const Model placed = context.up(model);
    const Tensor ids = context.up(all_ids);
    const std::int64_t lanes = all_ids.extent(0);
    const std::int64_t length = all_ids.extent(1);
    const std::int64_t vocab = model.config().vocab_size;
    StateBank bank(model.config(), lanes, context.queue());
    Tensor out(host_allocator(), DType::f32, {lanes, length, vocab}, "logits");
    std::int64_t at = 0;
    while (at < length) {
        const std::int64_t next =
            std::min(at + (at == 0 && first_chunk > 0 ? first_chunk : chunk), length);
        Tensor logits = context.make(DType::f32, {lanes, next - at, vocab});
        forward_logits(*context, placed, {ids.view().slice(1, at, next), {}, {}}, bank,
                       logits.view());
        const Tensor scores = context.down(logits.view());
        const auto from = scores.view().as<const float, 3>();
        const auto to = out.view().as<float, 3>();
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            std::copy_n(&from(lane), (next - at) * vocab, &to(lane, at));
        }
        at = next;
    }
    return bytes_of(out.view()) + bytes_of(context.down(bank.values()).view());
}

struct Trained {
    std::vector<Tensor> gradients;
    Tensor states;
    double loss = 0.0;

    std::string bytes() const {
        std::string out = bytes_of(states.view());
        for (const Tensor& gradient : gradients) {
            out += bytes_of(gradient.view());
        }
        return out + std::string(reinterpret_cast<const char*>(&loss), sizeof loss);
    }
};

Trained gradients_of(const Place& place,
                     const Model& model,
                     std::int64_t lanes,
                     std::int64_t length,
                     std::int64_t chunk,
                     int threads) {
    PlacedContext context(place, threads);
    const Model placed = context.up(model);
    const Tensor ids = context.up(random_ids(lanes, length, model.config().vocab_size, 5).view());
    const Tensor targets =
        context.up(random_ids(lanes, length, model.config().vocab_size, 6).view());
    const Tensor weight = context.up(test::filled({lanes, length}, 0.7F).view());
    StateBank states(model.config(), lanes, context.queue());
    Tensor start(host_allocator(), DType::f32, {states.layout().count()}, "states");
    const CounterRng rng(8, 8);
    auto* const values = static_cast<float*>(start.view().data());
    for (std::int64_t i = 0; i < states.layout().count(); ++i) {
        values[i] = static_cast<float>(0.1 * rng.normal(static_cast<std::uint64_t>(i)));
    }
    states.restore(context.up(start.view()).view());
    Gradients gradients(placed, context.queue());
    Trained out;
    out.loss = training_step(*context, placed, {ids.view(), targets.view(), weight.view()}, chunk,
                             1.0 / static_cast<double>(lanes * length), states, gradients);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        out.gradients.push_back(context.down(gradients.of(i)));
    }
    out.states = context.down(states.values());
    return out;
}

/// Hash of the weights after so many steps of two micro-batches of lanes.
std::string trained_weights(
    const Place& place, int steps, std::int64_t length, std::int64_t chunk, int threads) {
    PlacedContext context(place, threads);
    Model model = context.up(Model::initialise(small_config(), 1, host_allocator()));
    AdamW optimizer(model, {}, context.queue());
    Gradients gradients(model, context.queue());
    constexpr std::int64_t kLanes = 3;
    const Tensor weight = context.up(test::filled({kLanes, length}, 1.0F).view());
    for (int step = 0; step < steps; ++step) {
        gradients.zero();
        for (std::uint64_t part = 0; part < 2; ++part) {
            const Tensor ids = context.up(
                random_ids(kLanes, length, 12, 100 + 2 * static_cast<std::uint64_t>(step) + part)
                    .view());
            StateBank states(model.config(), kLanes, context.queue());
            training_step(*context, model, {ids.view(), ids.view(), weight.view()}, chunk,
                          1.0 / static_cast<double>(2 * kLanes * length), states, gradients);
        }
        optimizer.step(*context, model, gradients, 5e-3);
    }
    return model.on_host(context.queue()).hash();
}

/// Losses and weights of steps of three lots each, the last of fewer lanes, by RepeatedStep or with
/// everything made anew each time. Between the steps, `between` may do as it likes.
std::string trained_in_lots(const Place& place,
                            std::int64_t chunk,
                            bool repeated,
                            const std::function<void(PlacedContext&, int)>& between) {
    constexpr std::int64_t kLength = 300;
    constexpr int kSteps = 6;
    PlacedContext context(place);
    Model model = context.up(Model::initialise(small_config(), 1, host_allocator()));
    AdamW optimizer(model, {}, context.queue());
    Gradients gradients(model, context.queue());
    RepeatedStep lots(context.queue(), model, 3, kLength, chunk, gradients);
    std::map<std::int64_t, StateBank> banks;
    std::string out;
    std::uint64_t seed = 40;
    for (int step = 0; step < kSteps; ++step) {
        const double scale = 1.0 / (1000.0 + step);
        gradients.zero();
        for (const std::int64_t lanes : {3, 3, 2}) {
            const Tensor ids = random_ids(lanes, kLength, 12, ++seed);
            const Tensor targets = random_ids(lanes, kLength, 12, ++seed);
            const Tensor weight =
                test::filled({lanes, kLength}, 0.5F + 0.1F * static_cast<float>(step));
            double loss = 0.0;
            if (repeated) {
                copy(host_queue(), ids.view(), lots.ids().slice(0, 0, lanes));
                copy(host_queue(), targets.view(), lots.targets().slice(0, 0, lanes));
                copy(host_queue(), weight.view(), lots.weight().slice(0, 0, lanes));
                StateBank& states =
                    banks.try_emplace(lanes, model.config(), lanes, context.queue()).first->second;
                states.reset();
                lots.start(*context, scale, states);
                loss = lots.finish(*context);
            } else {
                const Tensor on[] = {context.up(ids.view()), context.up(targets.view()),
                                     context.up(weight.view())};
                StateBank states(model.config(), lanes, context.queue());
                loss = training_step(*context, model, {on[0].view(), on[1].view(), on[2].view()},
                                     chunk, scale, states, gradients);
            }
            out += std::string(reinterpret_cast<const char*>(&loss), sizeof loss);
        }
        optimizer.step(*context, model, gradients, 5e-3);
        between(context, step);
    }
    return out + model.on_host(context.queue()).hash();
}

/// ‖a − b‖ / ‖b‖
template <class T>
double distance(ConstTensorView a, ConstTensorView b) {
    double apart = 0.0;
    double size = 0.0;
    for (std::int64_t i = 0; i < b.count(); ++i) {
        const auto x = static_cast<double>(static_cast<const T*>(a.data())[i]);
        const auto y = static_cast<double>(static_cast<const T*>(b.data())[i]);
        apart += (x - y) * (x - y);
        size += y * y;
    }
    return std::sqrt(apart / size);
}

}  // namespace

TEST_CASE("training: a step repeated has the bits of steps apart, also where memory moves") {
    const auto nothing = [](PlacedContext&, int) {};
    // Takes more step memory than a step, so that it is another block from then on.
    const auto more = [](PlacedContext& context, int step) {
        if (step == 3) {
            const StepMemory::Scope scope((*context).step);
            (*context).step.take(DType::u8, {std::int64_t{64} << 20});
        }
    };
    for (const Place& place : places()) {
        for (const std::int64_t chunk : {300, 64}) {
            CAPTURE(place.text(), chunk);
            const std::string apart = trained_in_lots(place, chunk, false, nothing);
            CHECK((trained_in_lots(place, chunk, true, nothing) == apart));
            CHECK((trained_in_lots(place, chunk, true, more) == apart));
        }
    }
}

TEST_CASE("the first layer's product is the same position by position and looked up by token") {
    const Model model = random_model(test::small_config(), 7);
    const std::int64_t tokens = model.config().vocab_size;
    const Tensor ids = random_ids(1, 3 * tokens, tokens, 8);
    for (const Place& place : places()) {
        INFO(place.text());
        const auto logits = [&](std::int64_t rows) {
            return read_in_chunks(place, model, ids.view().slice(1, 0, rows), rows, 1)
                .substr(0, static_cast<std::size_t>(tokens * tokens) * sizeof(float));
        };
        // As many rows as tokens are computed one by one.
        CHECK(logits(tokens) == logits(3 * tokens));
    }
}

TEST_CASE("forward: the same bytes for every chunk length and number of threads") {
    for (const Place& place : places()) {
        const Cuts cuts = cuts_of(place);
        for (const bool everything : {false, true}) {
            const Model model = random_model(small_config(everything), 7);
            const Tensor ids = random_ids(2, cuts.length, 12, 9);
            const std::string whole = read_in_chunks(place, model, ids.view(), cuts.length, 1);
            for (const std::int64_t chunk : cuts.chunks) {
                CAPTURE(place.text(), everything, chunk);
                CHECK((read_in_chunks(place, model, ids.view(), chunk, 1) == whole));
            }
            CHECK((read_in_chunks(place, model, ids.view(), cuts.length, 2) == whole));
            if (!place.is_device()) {
                CHECK((read_in_chunks(place, model, ids.view(), 257, 2, 1) == whole));
                CHECK((read_in_chunks(place, model, ids.view(), 999, 4) == whole));
            }
        }
    }
}

TEST_CASE("forward: a record gives the same bytes alone and in any company") {
    for (const Place& place : places()) {
        PlacedContext context(place, 2);
        const Model model = context.up(random_model(small_config(), 7));
        const Tensor all = random_ids(5, 700, 12, 9);
        const auto run = [&](const std::vector<std::int64_t>& lanes) {
            const auto count = static_cast<std::int64_t>(lanes.size());
            Tensor ids(host_allocator(), DType::u8, {count, 700}, "ids");
            for (std::size_t i = 0; i < lanes.size(); ++i) {
                const ConstTensorView from = all.view().slice(0, lanes[i], lanes[i] + 1);
                std::memcpy(static_cast<std::uint8_t*>(ids.view().data()) + 700 * i, from.data(),
                            700);
            }
            StateBank bank(model.config(), count, context.queue());
            Tensor out = context.make(DType::f32, {count, 700, 12});
            forward_hidden(*context, model, {context.up(ids.view()).view(), {}, {}}, bank,
                           kLastLayer, out.view());
            std::vector<std::string> rows;
            const Tensor host = context.down(out.view());
            for (std::int64_t lane = 0; lane < count; ++lane) {
                rows.push_back(bytes_of(host.view().slice(0, lane, lane + 1)));
            }
            return rows;
        };
        const std::vector<std::string> together = run({0, 1, 2, 3, 4});
        const std::vector<std::string> turned = run({4, 3, 2, 1, 0});
        for (std::size_t lane = 0; lane < 5; ++lane) {
            CAPTURE(place.text(), lane);
            CHECK((run({static_cast<std::int64_t>(lane)})[0] == together[lane]));
            CHECK((turned[4 - lane] == together[lane]));
        }
    }
}

TEST_CASE("forward: positions past valid change neither rows nor states") {
    for (const Place& place : places()) {
        PlacedContext context(place);
        const Model model = context.up(random_model(small_config(), 7));
        const Tensor ids = context.up(random_ids(3, 400, 12, 9).view());
        const std::array<std::int64_t, 3> counts{400, 1, 123};
        const Tensor valid = context.up({counts.data(), DType::i64, {3}});
        StateBank bank(model.config(), 3, context.queue());
        Tensor out = context.make(DType::f32, {3, 400, 12});
        forward_hidden(*context, model, {ids.view(), valid.view(), {}}, bank, kLastLayer,
                       out.view());
        for (std::int64_t lane = 0; lane < 3; ++lane) {
            const std::int64_t count = counts[static_cast<std::size_t>(lane)];
            StateBank alone(model.config(), 1, context.queue());
            Tensor rows = context.make(DType::f32, {1, count, 12});
            forward_hidden(*context, model,
                           {ids.view().slice(0, lane, lane + 1).slice(1, 0, count), {}, {}}, alone,
                           kLastLayer, rows.view());
            CAPTURE(place.text(), lane);
            const auto same = [&](TensorView a, TensorView b) {
                return bytes_of(context.down(a).view()) == bytes_of(context.down(b).view());
            };
            CHECK(same(out.view().slice(0, lane, lane + 1).slice(1, 0, count), rows.view()));
            for (std::int64_t layer = 0; layer < 3; ++layer) {
                CHECK(same(bank.conv(layer).slice(0, lane, lane + 1), alone.conv(layer)));
                CHECK(same(bank.ssm(layer).slice(0, lane, lane + 1), alone.ssm(layer)));
            }
        }
    }
}

TEST_CASE("forward: segments in a lane are records apart") {
    for (const Place& place : places()) {
        PlacedContext context(place);
        const Model model = context.up(random_model(small_config(), 7));
        const Tensor ids = context.up(random_ids(1, 300, 12, 9).view());
        std::vector<std::int32_t> segment(300, 0);
        std::fill(segment.begin() + 2, segment.begin() + 131, 1);
        std::fill(segment.begin() + 131, segment.end(), 2);
        const Tensor segments = context.up({segment.data(), DType::i32, {1, 300}});
        StateBank bank(model.config(), 1, context.queue());
        Tensor out = context.make(DType::f32, {1, 300, 12});
        forward_hidden(*context, model, {ids.view(), {}, segments.view()}, bank, kLastLayer,
                       out.view());
        const std::array<std::int64_t, 4> borders{0, 2, 131, 300};
        for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
            const std::int64_t lo = borders[i];
            const std::int64_t hi = borders[i + 1];
            StateBank alone(model.config(), 1, context.queue());
            Tensor rows = context.make(DType::f32, {1, hi - lo, 12});
            forward_hidden(*context, model, {ids.view().slice(1, lo, hi), {}, {}}, alone,
                           kLastLayer, rows.view());
            CAPTURE(place.text(), i);
            CHECK((bytes_of(context.down(out.view().slice(1, lo, hi)).view()) ==
                   bytes_of(context.down(rows.view()).view())));
        }
    }
}

TEST_CASE("forward: the scan equals the recurrence, step by step, within 1e-5") {
    for (const Place& place : places()) {
        for (const bool everything : {false, true}) {
            PlacedContext context(place);
            const Model model = random_model(small_config(everything), 7);
            constexpr std::int64_t kLength = 500;
            const Tensor ids = random_ids(1, kLength, 12, 9);
            StateBank bank(model.config(), 1, context.queue());
            Tensor out = context.make(DType::f32, {1, kLength, 12});
            forward_logits(*context, context.up(model), {context.up(ids.view()).view(), {}, {}},
                           bank, out.view());
            test::Recurrence recurrence(model);
            const Tensor host = context.down(out.view());
            const auto ours = host.view().as<const float, 3>();
            double apart = 0.0;
            double size = 0.0;
            for (std::int64_t t = 0; t < kLength; ++t) {
                const std::vector<double> expected =
                    recurrence.step(ids.view().as<const std::uint8_t, 2>()(0, t));
                for (std::int64_t id = 0; id < 12; ++id) {
                    const double theirs = expected[static_cast<std::size_t>(id)];
                    apart = std::max(apart, std::abs(static_cast<double>(ours(0, t, id)) - theirs));
                    size = std::max(size, std::abs(theirs));
                }
            }
            CAPTURE(place.text(), everything, apart, size);
            CHECK(apart <= (place.activations == DType::bf16 ? kBf16Forward : 1e-5) * size);
        }
    }
}

TEST_CASE("training step: the same bytes for every chunk length and number of threads") {
    for (const Place& place : places()) {
        const std::int64_t tile = place.tile();
        for (const bool everything : {false, true}) {
            const Model model = random_model(small_config(everything), 7);
            const std::int64_t length = 2 * tile + 1588;
            const auto bytes = [&](std::int64_t chunk, int threads) {
                return gradients_of(place, model, 2, length, chunk, threads).bytes();
            };
            const std::string whole = bytes(length, 1);
            for (const std::int64_t chunk : {tile, 2 * tile, 4 * tile}) {
                CAPTURE(place.text(), everything, chunk);
                CHECK((bytes(chunk, 1) == whole));
            }
            CHECK((bytes(2 * tile, 2) == whole));
            CHECK((bytes(length, 4) == whole));
            CHECK((bytes(1, 4) == whole));  // rounded up to a tile
        }
    }
}

TEST_CASE("training: steps give the same weights for every chunk and number of threads") {
    for (const Place& place : places()) {
        CAPTURE(place.text());
        const std::int64_t tile = place.tile();
        const std::int64_t length = 2 * tile + 88;
        const int steps = place.is_device() ? 5 : 20;
        const std::string one = trained_weights(place, steps, length, length, 1);
        CHECK((trained_weights(place, steps, length, length, 4) == one));
        CHECK((trained_weights(place, steps, length, tile, 4) == one));
        CHECK((trained_weights(place, steps, length, tile, 1) == one));
    }
}

TEST_CASE("devices agree with the CPU: loss, states and every gradient") {
    for (const Place& place : test::devices()) {
        for (const bool everything : {false, true}) {
            const Model model = random_model(small_config(everything), 7);
            const Trained ours = gradients_of(place, model, 2, 777, 777, 1);
            const Trained theirs = gradients_of({}, model, 2, 777, 777, 1);
            const bool is_bf16 = place.activations == DType::bf16;
            CAPTURE(place.text(), everything, ours.loss, theirs.loss);
            CHECK(ours.loss == Approx(theirs.loss).epsilon(is_bf16 ? 1e-3 : 1e-6));
            CHECK(distance<float>(ours.states.view(), theirs.states.view()) <
                  (is_bf16 ? kBf16Forward : 1e-5));
            for (std::size_t i = 0; i < ours.gradients.size(); ++i) {
                CAPTURE(model.params()[i].name);
                CHECK(distance<double>(ours.gradients[i].view(), theirs.gradients[i].view()) <
                      (is_bf16 ? kBf16Gradient : 1e-4));
            }
        }
    }
}

TEST_CASE("forward: 100,003 bases, the same bytes for every chunk length", "[.slow]") {
    const Model model = random_model(ModelConfig::of_width(64, 4), 7);
    const Tensor ids = random_ids(1, 100'003, 16, 9);
    for (const Place& place : places()) {
        const std::string whole = read_in_chunks(place, model, ids.view(), 100'003, 4);
        const auto chunks = place.is_device() ? std::vector<std::int64_t>{8192, 65'536}
                                              : std::vector<std::int64_t>{3, 64, 1000, 4096};
        for (const std::int64_t chunk : chunks) {
            CAPTURE(place.text(), chunk);
            CHECK((read_in_chunks(place, model, ids.view(), chunk, 2) == whole));
        }
        CHECK((read_in_chunks(place, model, ids.view(), 100'003, 1) == whole));
    }
}

TEST_CASE("training step: 1,000,003 bases, the same bytes for every chunk length", "[.slow]") {
    const Model model = random_model(small_config(), 7);
    for (const Place& place : places()) {
        CAPTURE(place.text());
        const auto bytes = [&](std::int64_t chunk, int threads) {
            return gradients_of(place, model, 1, 1'000'003, chunk, threads).bytes();
        };
        const std::string one = bytes(4096, 1);
        CHECK((bytes(65'536, 2) == one));
        CHECK((bytes(1'000'003, 4) == one));
    }
}

}  // namespace mambase::model
