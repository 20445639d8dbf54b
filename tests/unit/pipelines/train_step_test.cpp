#include "pipelines/train_step.hpp"

#include "base/file.hpp"
#include "kernels/ops/op_table.hpp"
#include "pipelines/runtime.hpp"
#include "tests/support/synthetic_fasta.hpp"
#include "tests/support/temp_dir.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;

namespace {

constexpr std::int64_t kContext = 50;

io::TokenStore store_of(const std::string& bases) {
    const test::TempDir dir;
    write_text(dir.file("in.fa"), test::fasta_record("chr", bases));
    io::TokenStore store(io::Tokenizer::named("dna"));
    store.add(dir.file("in.fa"), {});
    return store;
}

/// Steps that change no weight.
Recipe still_recipe(std::int64_t batch, double carry) {
    Recipe recipe;
    recipe.context = kContext;
    recipe.batch = batch;
    recipe.lanes = std::min<std::int64_t>(batch, 3);
    recipe.carry = carry;
    recipe.mask_weight = 1.0;
    recipe.schedule.steps = 1000;
    recipe.seed = 9;
    return recipe;
}

struct Lab {
    Lab(const io::TokenStore& sequence, const Recipe& recipe)
        : windows(sequence, {{0, 0, sequence.total_bases()}}, kContext),
          state(model::Model::initialise(model::ModelConfig::of_width(8, 2), 1, host_allocator()),
                recipe.optimizer,
                engine.queue()),
          step(recipe, windows, sequence.tokenizer(), state.model, kContext, engine) {
        state.lanes.emplace(state.model.config(), recipe.batch, recipe.lanes, engine.queue());
    }

    Observer observer;
    Runtime runtime{.threads = 1, .device = {}, .observer = observer, .command_line = {}};
    Engine engine{runtime};
    io::SampleWindows windows;
    TrainState state;
    TrainStep step;
};

bool goes_on(const io::SampledWindow& before, const io::SampledWindow& now) {
    const std::int64_t way = before.strand == io::Strand::forward ? kContext : -kContext;
    return now.strand == before.strand && now.start == before.start + way;
}

}  // namespace

TEST_CASE("A lane that goes on reads as one long window would", "[train_step]") {
    const io::TokenStore store = store_of(test::markov_bases(3000, 3));
    Lab lab(store, still_recipe(1, 1.0));
    // Consecutive windows until the lane has to jump.
    std::vector<std::uint8_t> ids;
    std::vector<std::uint8_t> targets;
    std::vector<std::uint8_t> codes(kContext + 1);
    double sum = 0.0;
    io::SampledWindow last = lab.state.lanes->windows[0];
    CHECK(last.contig == -1);
    for (std::int64_t step = 1; step <= 1000; ++step) {
        const double nats = lab.step.run(step, lab.state).nats;
        const io::SampledWindow now = lab.state.lanes->windows[0];
        if (step > 1 && !goes_on(last, now)) {
            break;
        }
        lab.windows.read(now, codes);
        ids.insert(ids.end(), codes.begin(), codes.end() - 1);
        targets.insert(targets.end(), codes.begin() + 1, codes.end());
        sum += nats * kContext;
        last = now;
    }
    const auto length = static_cast<std::int64_t>(ids.size());
    REQUIRE(length >= 3 * kContext);
    // It went on to the end of the sequence.
    CHECK_FALSE(lab.windows.after(last));

    const std::vector<float> weight(ids.size(), 1.0F);
    model::StateBank states(lab.state.model.config(), 1, lab.engine.queue());
    model::Gradients gradients(lab.state.model, lab.engine.queue());
    const model::TrainBatch batch{ConstTensorView(ids.data(), DType::u8, {1, length}),
                                  ConstTensorView(targets.data(), DType::u8, {1, length}),
                                  ConstTensorView(weight.data(), DType::f32, {1, length})};
    const double whole = model::training_step(lab.engine.context(), lab.state.model, batch, length,
                                              1.0, states, gradients);
    CHECK(sum == Approx(whole).epsilon(1e-9));
}

TEST_CASE("Lanes go on by the recipe's chance, on either strand", "[train_step]") {
    const io::TokenStore store = store_of(test::markov_bases(200'000, 4));
    const double chance = GENERATE(0.0, 0.3, 0.8);
    INFO("chance " << chance);
    constexpr std::int64_t lanes = 5;  // lots of 3 and 2
    Lab lab(store, still_recipe(lanes, chance));
    int went_on = 0;
    int went_back = 0;  // of those, on the reverse strand
    constexpr int steps = 200;
    for (std::int64_t step = 1; step <= steps; ++step) {
        const std::vector<io::SampledWindow> before = lab.state.lanes->windows;
        lab.step.run(step, lab.state);
        for (std::size_t lane = 0; step > 1 && lane < lanes; ++lane) {
            const bool on = goes_on(before[lane], lab.state.lanes->windows[lane]);
            went_on += on ? 1 : 0;
            went_back += on && before[lane].strand == io::Strand::reverse ? 1 : 0;
        }
    }
    // Five standard deviations of 995 draws are 0.08.
    CHECK(went_on / (lanes * (steps - 1.0)) == Approx(chance).margin(0.08));
    CHECK(went_back <= went_on);
    CHECK((chance == 0.0 || (went_back > went_on / 4 && went_back < 3 * went_on / 4)));
}
