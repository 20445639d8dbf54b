// A model directory of format version 1 still loads, and still gives the numbers it gave.
//
// MAMBASE_UPDATE_GOLDEN=1 writes the expected numbers again, and the model where it is not there:
// the directory of an old version is never rewritten.
#include "base/file.hpp"
#include "model/chunked_step.hpp"
#include "model/forward.hpp"
#include "model/safetensors.hpp"
#include "model/verify.hpp"
#include "tests/support/data_dir.hpp"
#include "tests/support/places.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <cstdlib>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

const std::string kDirectory = test::source_dir() + "/data/golden/model_v1";
const std::string kExpected = kDirectory + "/expected.safetensors";
constexpr std::int64_t kLanes = 2;
constexpr std::int64_t kLength = 70;

void write_model() {
    Model model = test::random_model(test::small_config(true), 2025);
    Provenance origin;
    origin.tokenizer = "dna";
    origin.tokenizer_hash = "0123456789abcdef";
    origin.context = 1024;
    origin.training_data = "fedcba9876543210";
    origin.steps = 20;
    origin.seed = 18446744073709551615U;
    origin.tool_version = "0.1.0";
    origin.licence = "CC0-1.0";
    model.provenance() = origin;
    save_model(kDirectory, model);
    write_text(kDirectory + "/sha256", model.hash() + "\n");
}

Tensor narrowed(ConstTensorView sums) {
    Tensor out(host_allocator(), DType::f32, sums.shape(), "gradient");
    for (std::int64_t i = 0; i < sums.count(); ++i) {
        static_cast<float*>(out.view().data())[i] =
            static_cast<float>(static_cast<const double*>(sums.data())[i]);
    }
    return out;
}

void write_expected() {
    test::CpuContext context;
    const Model model = Model::load(kDirectory, host_allocator());
    const ModelConfig& config = model.config();
    const Tensor ids = test::random_ids(kLanes, kLength, config.vocab_size, 4);
    Tensor wide(host_allocator(), DType::i64, {kLanes, kLength}, "ids");
    for (std::int64_t i = 0; i < kLanes * kLength; ++i) {
        static_cast<std::int64_t*>(wide.view().data())[i] =
            static_cast<const std::uint8_t*>(ids.view().data())[i];
    }
    SafetensorsWriter writer(kExpected);
    writer.add("input_ids", wide.view());
    StateBank bank(config, kLanes, host_queue());
    Tensor logits(host_allocator(), DType::f32, {kLanes, kLength, config.vocab_size}, "logits");
    forward_logits(*context, model, {ids.view(), {}, {}}, bank, logits.view());
    writer.add("logits", logits.view());
    std::vector<Tensor> kept;  // until commit()
    for (std::int64_t layer = 0; layer <= config.n_layer; ++layer) {
        bank.reset();
        Tensor& hidden = kept.emplace_back(host_allocator(), DType::f32,
                                           Shape{kLanes, kLength, config.d_model}, "hidden");
        forward_hidden(*context, model, {ids.view(), {}, {}}, bank,
                       layer == config.n_layer ? kLastLayer : layer + 1, hidden.view());
        writer.add("hidden." + std::to_string(layer), hidden.view());
    }
    bank.reset();
    Gradients gradients(model, host_queue());
    const Tensor weight = test::filled({kLanes, kLength - 1}, 1.0F);
    training_step(
        *context, model,
        {ids.view().slice(1, 0, kLength - 1), ids.view().slice(1, 1, kLength), weight.view()},
        kLength, 1.0 / (kLanes * (kLength - 1)), bank, gradients);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
        writer.add("grad." + model.params()[i].name,
                   kept.emplace_back(narrowed(gradients.of(i))).view());
    }
    writer.commit();
}

}  // namespace

TEST_CASE("golden: a model of format version 1 loads and gives the same numbers") {
    if (std::getenv("MAMBASE_UPDATE_GOLDEN") != nullptr) {
        if (!exists(kDirectory)) {
            write_model();
        }
        write_expected();
    }
    const Model model = Model::load(kDirectory, host_allocator());
    CHECK(model.hash() == read_text(kDirectory + "/sha256").substr(0, 64));
    REQUIRE(model.provenance());
    CHECK(model.provenance()->context == 1024);
    CHECK(model.provenance()->seed == 18446744073709551615U);
    CHECK(model.provenance()->tokenizer_hash == "0123456789abcdef");
    for (const test::Place& place : test::places()) {
        if (place.activations == DType::bf16) {
            continue;  // verify's bounds are those of f32
        }
        test::PlacedContext context(place, 2);
        const VerifyReport report = verify(*context, kDirectory, kExpected);
        INFO(place.text() << '\n' << report.text());
        CHECK(report.ok());
        CHECK(report.lines.size() ==
              2 + 1 + static_cast<std::size_t>(model.config().n_layer) + model.params().size());
    }
}

}  // namespace mambase::model
