// What `selftest` compares with is what the references give in double precision.
//
// MAMBASE_UPDATE_GOLDEN=1 writes data/golden/selftest.json again.
#include "pipelines/selftest_golden.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/selftest.hpp"
#include "pipelines/selftest_cases.hpp"
#include "tests/golden/reference_model.hpp"
#include "tests/support/reference/adamw.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using test::Array;

const std::string kFile = MAMBASE_SOURCE_DIR "/data/golden/selftest.json";
// Two compilers, two math libraries: double precision through some ten thousand positions.
constexpr double kTolerance = 1e-9;

using Results = std::map<std::string, Sketch>;

Sketch sketch_of(const std::vector<double>& values) {
    return pipelines::sketch_of(values.data(), static_cast<std::int64_t>(values.size()));
}

/// What the one update takes from each parameter and adds to it.
std::vector<std::vector<double>> updates(const model::Model& model,
                                         const test::reference::ReferenceModel& reference) {
    double norm = 0.0;
    for (const Array& gradient : reference.gradients()) {
        for (const double g : gradient.values) {
            norm += g * g;
        }
    }
    norm = std::sqrt(norm);
    const model::AdamWOptions& options = kSelftestAdamW;
    REQUIRE(norm > options.clip);  // or clipping is not tested
    std::vector<std::vector<double>> out;
    for (std::size_t i = 0; i < model.params().size(); ++i) {
        const Array& before = reference.params()[i];
        test::reference::AdamW state{before, Array(before.shape), Array(before.shape)};
        test::reference::adamw(state, reference.gradients()[i], options.clip / norm, kSelftestRate,
                               options.beta1, options.beta2, options.eps,
                               model.params()[i].decay ? options.weight_decay : 0.0, 1);
        std::vector<double>& update = out.emplace_back(state.param.values);
        for (std::size_t k = 0; k < update.size(); ++k) {
            update[k] -= before.values[k];
        }
    }
    return out;
}

Results results_of(const SelftestCase& at) {
    const model::Model model = selftest_model(at);
    const Tensor ids = selftest_ids(at);
    const Array weight = test::to_array(selftest_weights(at).view());
    const double sum = std::accumulate(weight.values.begin(), weight.values.end(), 0.0);
    test::reference::ReferenceModel reference(model);
    reference.forward(test::to_array(ids.view().slice(1, 0, at.length)));
    const double loss = reference.backward(test::to_array(ids.view().slice(1, 1, at.length + 1)),
                                           weight, 1.0 / sum);
    Results out;
    out["logits"] = sketch_of(reference.logits().values);
    out["states"] = sketch_of(reference.states());
    out["loss"] = sketch_of({loss});
    const std::vector<std::vector<double>> steps = updates(model, reference);
    for (std::size_t i = 0; i < model.params().size(); ++i) {
        const std::string& name = model.params()[i].name;
        out["grad." + name] = sketch_of(reference.gradients()[i].values);
        out["update." + name] = sketch_of(steps[i]);
    }
    return out;
}

std::string as_json(const std::map<std::string, Results>& all) {
    std::string out = "{\n";
    for (const auto& [name, results] : all) {
        out += concat(out.size() > 2 ? ",\n" : "", "\"", name, "\": {");
        const char* between = "\n";
        for (const auto& [what, sketch] : results) {
            nlohmann::json numbers = {sketch.norm};
            for (const double value : sketch.sums) {
                numbers.push_back(value);
            }
            out += concat(between, "  \"", what, "\": ", numbers.dump());
            between = ",\n";
        }
        out += "\n}";
    }
    return out + "\n}\n";
}

}  // namespace

TEST_CASE("golden: what selftest compares with is what double precision gives", "[selftest]") {
    std::map<std::string, Results> all;
    for (const SelftestCase& at : selftest_cases()) {
        all[at.name] = results_of(at);
    }
    if (std::getenv("MAMBASE_UPDATE_GOLDEN") != nullptr) {
        write_text(kFile, as_json(all));
        return;  // the program has to be built with it first
    }
    const auto stored = nlohmann::json::parse(selftest_golden_text());
    REQUIRE(stored.size() == all.size());
    for (const auto& [name, results] : all) {
        REQUIRE(stored.at(name).size() == results.size());
        for (const auto& [what, sketch] : results) {
            INFO(name << ": " << what);
            const std::vector<double> numbers = stored.at(name).at(what);
            REQUIRE(numbers.size() == 1 + Sketch::kSums);
            CHECK(numbers[0] == Approx(sketch.norm).epsilon(kTolerance));
            Sketch golden{numbers[0], {}};
            std::copy(numbers.begin() + 1, numbers.end(), golden.sums.begin());
            CHECK(relative_difference(sketch, golden) <= kTolerance);
        }
    }
}

TEST_CASE("selftest: a sketch shows one value that is off, and a value that is none",
          "[selftest]") {
    std::vector<double> values(10'000);
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = std::sin(static_cast<double>(i));
    }
    const Sketch golden = sketch_of(values);
    CHECK(relative_difference(golden, golden) == 0.0);
    values[4321] += 0.01;
    CHECK(relative_difference(sketch_of(values), golden) == Approx(0.01 / golden.norm));
    values[7] = std::nan("");
    CHECK_FALSE(relative_difference(sketch_of(values), golden) <= 1e300);
}

}  // namespace mambase::pipelines
