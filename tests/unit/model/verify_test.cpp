#include "model/verify.hpp"

#include "base/text.hpp"
#include "model/convert.hpp"
#include "model/forward.hpp"
#include "model/safetensors.hpp"
#include "tests/support/data_dir.hpp"
#include "tests/support/places.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::CpuContext;
using test::error_of;
using test::TempDir;

const char* const kTheirModels[] = {"hf-mamba-a", "hf-mamba-b"};

/// Empty, with a warning, where the set is not there.
std::string their_model(const std::string& name) {
    const std::string dir = concat(test::shared_data(), "/hf/", name);
    if (!exists(dir)) {
        WARN("SKIPPED: " << dir << " is not there");
        return {};
    }
    return dir;
}

}  // namespace

TEST_CASE("verify: numbers of an independent implementation") {
    for (const char* name : kTheirModels) {
        const std::string dir = their_model(name);
        if (dir.empty()) {
            continue;
        }
        const Model model = Model::load(dir, host_allocator());
        const auto count = static_cast<std::size_t>(model.config().n_layer);
        for (const test::Place& place : test::places()) {
            if (place.activations == DType::bf16) {
                continue;  // verify's bounds are those of f32
            }
            test::PlacedContext context(place, 2);
            const VerifyReport report = verify(*context, dir, dir + "/expected.safetensors");
            INFO(place.text() << '\n' << report.text());
            CHECK(report.ok());
            CHECK(report.lines.size() == 2 + (count + 1) + model.params().size());
        }
        CHECK(model.config().d_inner == 2 * model.config().d_model);
    }
}

TEST_CASE("verify: their directories come back from every form as they were") {
    for (const char* name : kTheirModels) {
        const std::string dir = their_model(name);
        if (dir.empty()) {
            continue;
        }
        const TempDir temp;
        Allocator& host = host_allocator();
        convert(dir, temp.file("original"), DirectoryForm::state_spaces, {}, host);
        CHECK(load_any_form(temp.file("original"), host).hash() == Model::load(dir, host).hash());
        convert(dir, temp.file("hf"), DirectoryForm::hf, {}, host);
        const SafetensorsFile theirs(dir + "/model.safetensors");
        const SafetensorsFile ours(temp.file("hf/model.safetensors"));
        CHECK(ours.entries().size() == theirs.entries().size());
        CHECK(ours.metadata() == theirs.metadata());
        for (const SafetensorsEntry& entry : theirs.entries()) {
            CAPTURE(entry.name);
            const SafetensorsEntry* const same = ours.find(entry.name);
            REQUIRE(same != nullptr);
            CHECK(same->shape == entry.shape);
            CHECK(std::ranges::equal(ours.bytes(*same), theirs.bytes(entry)));
        }
        CHECK(read_text(temp.file("hf/config.json")) == read_text(dir + "/config.json"));
    }
}

TEST_CASE("verify: a model that differs fails, by the lines that differ") {
    const TempDir dir;
    CpuContext context;
    Model model = test::random_model(test::small_config(), 5);
    const Tensor ids = test::random_ids(1, 40, 12, 3);
    Tensor wide(host_allocator(), DType::i64, {1, 40}, "ids");
    for (std::int64_t i = 0; i < 40; ++i) {
        static_cast<std::int64_t*>(wide.view().data())[i] =
            static_cast<const std::uint8_t*>(ids.view().data())[i];
    }
    Tensor logits(host_allocator(), DType::f32, {1, 40, 12}, "logits");
    StateBank bank(model.config(), 1, host_queue());
    forward_logits(*context, model, {ids.view(), {}, {}}, bank, logits.view());
    SafetensorsWriter writer(dir.file("expected.safetensors"));
    writer.add("input_ids", wide.view());
    writer.add("logits", logits.view());
    writer.commit();

    save_model(dir.path(), model);
    const std::string expected = dir.file("expected.safetensors");
    const VerifyReport same = verify(*context, dir.path(), expected);
    INFO(same.text());
    CHECK(same.ok());
    REQUIRE(same.lines.size() == 2);
    CHECK(same.lines[0].max_abs == 0.0);

    static_cast<float*>(model.params().find("backbone.norm_f.weight")->value.view().data())[0] +=
        0.01F;
    save_model(dir.path(), model);
    const VerifyReport other = verify(*context, dir.path(), expected);
    CHECK_FALSE(other.ok());
    CHECK(other.text().find("FAIL  logits") != std::string::npos);

    static_cast<std::int64_t*>(wide.view().data())[7] = 12;
    writer.commit();
    CHECK(error_of([&] { verify(*context, dir.path(), expected); }) ==
          concat(expected, ": tensor input_ids has 12 at element 7, not below 12"));
}

}  // namespace mambase::model
