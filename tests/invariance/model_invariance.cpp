// A value does not depend on how it was computed: the same bytes for every chunk, company, thread.
#include "base/text.hpp"
#include "model/adamw.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "tests/invariance/recurrence.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::bytes_of;
using test::CpuContext;
using test::random_ids;
using test::random_model;
using test::small_config;

/// The logits of all lanes read in chunks of that length, and the states that are left.
std::string read_in_chunks(const Model& model,
                           ConstTensorView ids,
                           std::int64_t chunk,
                           int threads,
                           std::int64_t first_chunk = 0) {
    CpuContext context(threads);
    const std::int64_t lanes = ids.extent(0);
    const std::int64_t length = ids.extent(1);
    const std::int64_t vocab = model.config().vocab_size;
    StateBank bank(model.config(), lanes, host_queue());
    Tensor out(host_allocator(), DType::f32, {lanes, length, vocab}, "logits");
    std::int64_t at = 0;
    while (at < length) {
        const std::int64_t next =
            std::min(at + (at == 0 && first_chunk > 0 ? first_chunk : chunk), length);
        Tensor logits(host_allocator(), DType::f32, {lanes, next - at, vocab}, "logits");
        forward_logits(*context, model, {ids.slice(1, at, next), {}, {}}, bank, logits.view());
        const auto from = logits.view().as<float, 3>();
        const auto to = out.view().as<float, 3>();
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            std::copy_n(&from(lane), (next - at) * vocab, &to(lane, at));
        }
        at = next;
    }
    return bytes_of(out.view()) + bytes_of(bank.values());
}

struct Trained {
    std::string gradients;
    std::string states;
    double loss = 0.0;
    friend bool operator==(const Trained&, const Trained&) = default;
};

Trained gradients_of(
    const Model& model, std::int64_t lanes, std::int64_t length, std::int64_t chunk, int threads) {
    CpuContext context(threads);
    const Tensor ids = random_ids(lanes, length, model.config().vocab_size, 5);
    const Tensor targets = random_ids(lanes, length, model.config().vocab_size, 6);
    const Tensor weight = test::filled({lanes, length}, 0.7F);
    StateBank states(model.config(), lanes, host_queue());
    const CounterRng rng(8, 8);
    auto* const values = static_cast<float*>(states.values().data());
    for (std::int64_t i = 0; i < states.layout().count(); ++i) {
        values[i] = static_cast<float>(0.1 * rng.normal(static_cast<std::uint64_t>(i)));
    }
    Gradients gradients(model, host_queue());
    Trained out;
    out.loss = training_step(*context, model, {ids.view(), targets.view(), weight.view()}, chunk,
                             1.0 / static_cast<double>(lanes * length), states, gradients);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        out.gradients += bytes_of(gradients.of(i));
    }
    out.states = bytes_of(states.values());
    return out;
}

/// Hash of the weights after so many steps of two micro-batches of lanes.
std::string trained_weights(int steps, std::int64_t chunk, int threads) {
    CpuContext context(threads);
    Model model = Model::initialise(small_config(), 1, host_allocator());
    AdamW optimizer(model, {}, host_queue());
    Gradients gradients(model, host_queue());
    constexpr std::int64_t kLanes = 3;
    constexpr std::int64_t kLength = 600;
    const Tensor weight = test::filled({kLanes, kLength}, 1.0F);
    for (int step = 0; step < steps; ++step) {
        gradients.zero();
        for (std::uint64_t part = 0; part < 2; ++part) {
            const Tensor ids =
                random_ids(kLanes, kLength, 12, 100 + 2 * static_cast<std::uint64_t>(step) + part);
            StateBank states(model.config(), kLanes, host_queue());
            training_step(*context, model, {ids.view(), ids.view(), weight.view()}, chunk,
                          1.0 / (2 * kLanes * kLength), states, gradients);
        }
        optimizer.step(*context, model, gradients, 5e-3);
    }
    return model.hash();
}

}  // namespace

TEST_CASE("forward: the same bytes for every chunk length and number of threads") {
    for (const bool everything : {false, true}) {
        const Model model = random_model(small_config(everything), 7);
        const Tensor ids = random_ids(2, 2000, 12, 9);
        const std::string whole = read_in_chunks(model, ids.view(), 2000, 1);
        for (const std::int64_t chunk : {1, 3, 64, 1000}) {
            CAPTURE(everything, chunk);
            CHECK(read_in_chunks(model, ids.view(), chunk, 1) == whole);
        }
        CHECK(read_in_chunks(model, ids.view(), 257, 2, 1) == whole);
        CHECK(read_in_chunks(model, ids.view(), 2000, 2) == whole);
        CHECK(read_in_chunks(model, ids.view(), 999, 4) == whole);
    }
}

TEST_CASE("forward: a record gives the same bytes alone and in any company") {
    const Model model = random_model(small_config(), 7);
    const Tensor all = random_ids(5, 700, 12, 9);
    CpuContext context(2);
    const auto run = [&](const std::vector<std::int64_t>& lanes) {
        Tensor ids(host_allocator(), DType::u8, {static_cast<std::int64_t>(lanes.size()), 700},
                   "ids");
        for (std::size_t i = 0; i < lanes.size(); ++i) {
            const ConstTensorView from = all.view().slice(0, lanes[i], lanes[i] + 1);
            std::memcpy(static_cast<std::uint8_t*>(ids.view().data()) + 700 * i, from.data(), 700);
        }
        StateBank bank(model.config(), ids.shape()[0], host_queue());
        Tensor out(host_allocator(), DType::f32, {ids.shape()[0], 700, 12}, "hidden");
        forward_hidden(*context, model, {ids.view(), {}, {}}, bank, kLastLayer, out.view());
        std::vector<std::string> rows;
        for (std::int64_t lane = 0; lane < ids.shape()[0]; ++lane) {
            rows.push_back(bytes_of(out.view().slice(0, lane, lane + 1)));
        }
        return rows;
    };
    const std::vector<std::string> together = run({0, 1, 2, 3, 4});
    const std::vector<std::string> turned = run({4, 3, 2, 1, 0});
    for (std::size_t lane = 0; lane < 5; ++lane) {
        CAPTURE(lane);
        CHECK(run({static_cast<std::int64_t>(lane)})[0] == together[lane]);
        CHECK(turned[4 - lane] == together[lane]);
    }
}

TEST_CASE("forward: positions past valid change neither rows nor states") {
    const Model model = random_model(small_config(), 7);
    const Tensor ids = random_ids(3, 400, 12, 9);
    CpuContext context;
    const std::array<std::int64_t, 3> counts{400, 1, 123};
    StateBank bank(model.config(), 3, host_queue());
    Tensor out(host_allocator(), DType::f32, {3, 400, 12}, "hidden");
    forward_hidden(*context, model, {ids.view(), {counts.data(), DType::i64, {3}}, {}}, bank,
                   kLastLayer, out.view());
    for (std::int64_t lane = 0; lane < 3; ++lane) {
        const std::int64_t count = counts[static_cast<std::size_t>(lane)];
        StateBank alone(model.config(), 1, host_queue());
        Tensor rows(host_allocator(), DType::f32, {1, count, 12}, "hidden");
        forward_hidden(*context, model,
                       {ids.view().slice(0, lane, lane + 1).slice(1, 0, count), {}, {}}, alone,
                       kLastLayer, rows.view());
        CAPTURE(lane);
        CHECK(bytes_of(out.view().slice(0, lane, lane + 1).slice(1, 0, count)) ==
              bytes_of(rows.view()));
        for (std::int64_t layer = 0; layer < 3; ++layer) {
            CHECK(bytes_of(bank.conv(layer).slice(0, lane, lane + 1)) ==
                  bytes_of(alone.conv(layer)));
            CHECK(bytes_of(bank.ssm(layer).slice(0, lane, lane + 1)) == bytes_of(alone.ssm(layer)));
        }
    }
}

TEST_CASE("forward: segments in a lane are records apart") {
    const Model model = random_model(small_config(), 7);
    const Tensor ids = random_ids(1, 300, 12, 9);
    CpuContext context;
    std::vector<std::int32_t> segment(300, 0);
    std::fill(segment.begin() + 2, segment.begin() + 131, 1);
    std::fill(segment.begin() + 131, segment.end(), 2);
    StateBank bank(model.config(), 1, host_queue());
    Tensor out(host_allocator(), DType::f32, {1, 300, 12}, "hidden");
    forward_hidden(*context, model, {ids.view(), {}, {segment.data(), DType::i32, {1, 300}}}, bank,
                   kLastLayer, out.view());
    const std::array<std::int64_t, 4> borders{0, 2, 131, 300};
    for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
        const std::int64_t lo = borders[i];
        const std::int64_t hi = borders[i + 1];
        StateBank alone(model.config(), 1, host_queue());
        Tensor rows(host_allocator(), DType::f32, {1, hi - lo, 12}, "hidden");
        forward_hidden(*context, model, {ids.view().slice(1, lo, hi), {}, {}}, alone, kLastLayer,
                       rows.view());
        CAPTURE(i);
        CHECK(bytes_of(out.view().slice(1, lo, hi)) == bytes_of(rows.view()));
    }
}

TEST_CASE("forward: the scan equals the recurrence, step by step, within 1e-5") {
    for (const bool everything : {false, true}) {
        const Model model = random_model(small_config(everything), 7);
        constexpr std::int64_t kLength = 500;
        const Tensor ids = random_ids(1, kLength, 12, 9);
        CpuContext context;
        StateBank bank(model.config(), 1, host_queue());
        Tensor out(host_allocator(), DType::f32, {1, kLength, 12}, "logits");
        forward_logits(*context, model, {ids.view(), {}, {}}, bank, out.view());
        test::Recurrence recurrence(model);
        const auto ours = out.view().as<float, 3>();
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
        CAPTURE(everything, apart, size);
        CHECK(apart <= 1e-5 * size);
    }
}

TEST_CASE("training step: the same bytes for every chunk length and number of threads") {
    for (const bool everything : {false, true}) {
        const Model model = random_model(small_config(everything), 7);
        constexpr std::int64_t kLength = 2100;
        const Trained whole = gradients_of(model, 2, kLength, kLength, 1);
        for (const std::int64_t chunk : {256, 512, 1024, 5000}) {
            CAPTURE(everything, chunk);
            CHECK(gradients_of(model, 2, kLength, chunk, 1) == whole);
        }
        CHECK(gradients_of(model, 2, kLength, 512, 2) == whole);
        CHECK(gradients_of(model, 2, kLength, kLength, 4) == whole);
        CHECK(gradients_of(model, 2, kLength, 1, 4) == whole);  // rounded up to a tile
    }
}

TEST_CASE("training: twenty steps give the same weights for every chunk and number of threads") {
    const std::string one = trained_weights(20, 600, 1);
    CHECK(trained_weights(20, 600, 4) == one);
    CHECK(trained_weights(20, 256, 4) == one);
    CHECK(trained_weights(20, 256, 1) == one);
}

TEST_CASE("forward: 100,003 bases, the same bytes for every chunk length", "[.slow]") {
    const Model model = random_model(ModelConfig::of_width(64, 4), 7);
    const Tensor ids = random_ids(1, 100'003, 16, 9);
    const std::string whole = read_in_chunks(model, ids.view(), 100'003, 1);
    for (const std::int64_t chunk : {3, 64, 1000, 4096}) {
        CAPTURE(chunk);
        CHECK(read_in_chunks(model, ids.view(), chunk, 2) == whole);
    }
    CHECK(read_in_chunks(model, ids.view(), 100'003, 4) == whole);
}

TEST_CASE("training step: 1,000,003 bases, the same bytes for every chunk length", "[.slow]") {
    const Model model = random_model(small_config(), 7);
    const Trained one = gradients_of(model, 1, 1'000'003, 4096, 1);
    CHECK(gradients_of(model, 1, 1'000'003, 65'536, 2) == one);
    CHECK(gradients_of(model, 1, 1'000'003, 1'000'003, 4) == one);
}

}  // namespace mambase::model
