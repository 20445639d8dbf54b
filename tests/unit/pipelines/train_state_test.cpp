#include "pipelines/train_state.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "kernels/tensor/buffer.hpp"
#include "tests/support/temp_dir.hpp"

#include <cstring>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;

namespace {

const NamedValues kOptions = {{"lr", "0.005"}, {"batch", "16"}, {"seed", "1"}};

TrainState fresh_state(std::uint64_t seed) {
    const auto config = model::ModelConfig::of_width(8, 2);
    return {model::Model::initialise(config, seed, host_allocator()), {}, host_queue()};
}

void fill(TensorView view, float first) {
    auto* values = static_cast<float*>(view.data());
    for (std::int64_t i = 0; i < view.count(); ++i) {
        values[i] = first + static_cast<float>(i);
    }
}

bool same(ConstTensorView a, ConstTensorView b) {
    return a.shape() == b.shape() &&
           std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.count()) * 4) == 0;
}

std::string error_of(const std::string& path, const NamedValues& options) {
    TrainState state = fresh_state(1);
    try {
        load_train_state(path, state, options, host_queue());
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

/// A context on the CPU.
struct Host {
    ThreadPool pool{1};
    StepMemory step{host_allocator()};
    ops::Context context{ops::op_table(Device{}), pool, step};
};

}  // namespace

TEST_CASE("A training state comes back as it was", "[train_state]") {
    const test::TempDir dir;
    const std::string path = dir.file("train_state.safetensors");
    const bool with_best = GENERATE(false, true);
    TrainState state = fresh_state(1);
    Host host;
    for (std::size_t i = 0; i < state.optimizer.size(); ++i) {
        fill(state.optimizer.m(i), 0.5F);
        fill(state.optimizer.v(i), 0.25F);
    }
    state.optimizer.set_steps(41);
    if (with_best) {
        const TrainState other = fresh_state(7);
        state.best = BestModel{40, 1.0 / 3.0, copy_weights(other.model, host_queue())};
    }
    save_train_state(path, state, kOptions, host.context);

    TrainState back = fresh_state(2);
    load_train_state(path, back, kOptions, host_queue());
    CHECK(back.optimizer.steps() == 41);
    REQUIRE(back.best.has_value() == with_best);
    for (std::size_t i = 0; i < state.optimizer.size(); ++i) {
        CHECK(same(back.model.params()[i].value.view(), state.model.params()[i].value.view()));
        CHECK(same(back.optimizer.m(i), state.optimizer.m(i)));
        CHECK(same(back.optimizer.v(i), state.optimizer.v(i)));
        if (with_best) {
            CHECK(same(back.best->weights[i].view(), state.best->weights[i].view()));
        }
    }
    if (with_best) {
        CHECK(back.best->step == 40);
        CHECK(back.best->nats == 1.0 / 3.0);
        set_weights(back.model, back.best->weights, host_queue());
        CHECK(back.model.hash() == fresh_state(7).model.hash());
    }
}

TEST_CASE("Other options are refused with the list", "[train_state]") {
    const test::TempDir dir;
    const std::string path = dir.file("train_state.safetensors");
    TrainState state = fresh_state(1);
    Host host;
    save_train_state(path, state, kOptions, host.context);
    const std::string text =
        error_of(path, {{"lr", "0.001"}, {"batch", "16"}, {"seed", "2"}, {"clip", "1"}});
    CHECK(text.find(path) != std::string::npos);
    CHECK(text.find("lr was 0.005, is 0.001; seed was 1, is 2; clip was not there, is 1") !=
          std::string::npos);
    CHECK(text.find("batch") == std::string::npos);
}

TEST_CASE("What is no training state is refused", "[train_state]") {
    const test::TempDir dir;
    const std::string path = dir.file("train_state.safetensors");
    CHECK(error_of(path, kOptions).find(path) != std::string::npos);
    model::save_model(dir.path(), fresh_state(1).model);
    CHECK(error_of(dir.file("model.safetensors"), kOptions)
              .find("not a training state of this version") != std::string::npos);
    TrainState state = fresh_state(1);
    Host host;
    save_train_state(path, state, kOptions, host.context);
    const std::string whole = read_text(path);
    write_text(path, std::string_view(whole).substr(0, whole.size() - 4));
    CHECK(error_of(path, kOptions).find(path) != std::string::npos);
}
