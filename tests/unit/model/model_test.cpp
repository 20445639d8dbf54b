#include "model/model.hpp"

#include "base/text.hpp"
#include "model/convert.hpp"
#include "model/safetensors.hpp"
#include "tests/unit/model/model_fixture.hpp"

#include <cmath>
#include <functional>
#include <limits>

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::bytes_of;
using test::error_of;
using test::small_config;
using test::TempDir;

Provenance some_provenance() {
    Provenance out;
    out.tokenizer = "dna";
    out.tokenizer_hash = "123";
    out.context = 1024;
    out.training_data = "456";
    out.steps = 20;
    out.seed = 3;
    out.tool_version = "0.1.0";
    out.licence = "CC0-1.0";
    return out;
}

/// Writes the tensors of `model`, after `change` has seen name and value; an empty name is left
/// out.
void write_weights(const std::string& path,
                   const Model& model,
                   const std::function<void(std::string&, ConstTensorView&)>& change) {
    SafetensorsWriter writer(path);
    for (const Param& param : model.params()) {
        std::string name = param.name;
        ConstTensorView value = param.value.view();
        change(name, value);
        if (!name.empty()) {
            writer.add(name, value);
        }
    }
    writer.commit();
}

float* values_of(Model& model, std::string_view name) {
    return static_cast<float*>(model.params().find(name)->value.view().data());
}

}  // namespace

TEST_CASE("model: what is saved is loaded, bit for bit") {
    for (const bool everything : {false, true}) {
        const TempDir dir;
        Model model = test::random_model(small_config(everything), 5);
        model.provenance() = some_provenance();
        save_model(dir.file("m"), model);
        const Model loaded = Model::load(dir.file("m"), host_allocator());
        CHECK(loaded.config() == model.config());
        CHECK(loaded.provenance() == model.provenance());
        CHECK(loaded.hash() == model.hash());
        for (std::size_t i = 0; i < model.params().size(); ++i) {
            CHECK(bytes_of(loaded.params()[i].value.view()) ==
                  bytes_of(model.params()[i].value.view()));
        }
        save_model(dir.file("again"), loaded);
        for (const char* name : {"/config.json", "/model.safetensors"}) {
            CHECK(read_text(dir.file("m") + name) == read_text(dir.file("again") + name));
        }
    }
}

TEST_CASE("model: the hash is over names, shapes and values, not over the origin") {
    Model model = test::random_model(small_config(), 5);
    const std::string before = model.hash();
    CHECK(before.size() == 64);
    model.provenance() = some_provenance();
    CHECK(model.hash() == before);
    values_of(model, "backbone.norm_f.weight")[3] += 1e-3F;
    CHECK(model.hash() != before);
}

TEST_CASE("model: context and tokenizer are those of our key, or the defaults") {
    Model model = Model::initialise(small_config(), 0, host_allocator());
    CHECK(model.context_or_default() == 8192);
    CHECK_NOTHROW(model.require_tokenizer("bytes", "999"));
    model.provenance() = some_provenance();
    CHECK(model.context_or_default() == 1024);
    CHECK_NOTHROW(model.require_tokenizer("dna", "123"));
    CHECK(error_of([&] { model.require_tokenizer("dna", "999"); }) ==
          "the model was trained with tokenizer dna (123), not dna (999)");
}

TEST_CASE("model: a directory that does not fit is refused, by file and tensor, in one line") {
    const Model model = test::random_model(small_config(), 5);
    using Change = std::function<void(std::string&, ConstTensorView&)>;
    const std::string a_log = "backbone.layers.1.mixer.A_log";
    const auto renamed = [](std::string from, std::string to) -> Change {
        return [from, to](std::string& name, ConstTensorView&) {
            if (name == from) {
                name = to;
            }
        };
    };
    struct Case {
        Change change;
        const char* says;
    };
    Tensor not_a_number(host_allocator(), DType::f32, {24, 5}, "test");
    std::memcpy(not_a_number.view().data(), model.params().find(a_log)->value.view().data(),
                static_cast<std::size_t>(not_a_number.bytes()));
    static_cast<float*>(not_a_number.view().data())[17] = std::numeric_limits<float>::quiet_NaN();
    Tensor as_bytes(host_allocator(), DType::u8, {24, 5}, "test");
    std::memset(as_bytes.view().data(), 0, 120);
    const auto with = [&](const Tensor& tensor, const Shape& shape) -> Change {
        return [&tensor, shape, a_log](std::string& name, ConstTensorView& value) {
            if (name == a_log) {
                value = tensor.view().reshape(shape);
            }
        };
    };
    const std::vector<Case> cases{
        {renamed(a_log, ""), "tensor backbone.layers.1.mixer.A_log is missing"},
        {renamed("backbone.embeddings.weight", ""), "tensor backbone.embeddings.weight is missing"},
        {renamed(a_log, a_log + "2"), "tensor backbone.layers.1.mixer.A_log is missing"},
        {with(not_a_number, {24, 5}),
         "tensor backbone.layers.1.mixer.A_log is not finite at element 17"},
        {with(not_a_number, {5, 24}),
         "tensor backbone.layers.1.mixer.A_log is [5, 24], but "
         "config.json makes it [24, 5]"},
        {with(as_bytes, {24, 5}), "tensor backbone.layers.1.mixer.A_log is of type U8, not F32"},
        {renamed("backbone.layers.2.mixer.conv1d.bias", "backbone.layers.3.mixer.conv1d.bias"),
         "tensor backbone.layers.2.mixer.conv1d.bias is missing"},
    };
    const TempDir dir;
    save_model(dir.path(), model);
    const std::string weights = dir.file("model.safetensors");
    for (const Case& each : cases) {
        write_weights(weights, model, each.change);
        const std::string message = error_of([&] { Model::load(dir.path(), host_allocator()); });
        CAPTURE(message, each.says);
        CHECK(message == concat(weights, ": ", each.says));
    }
}

TEST_CASE("model: a tensor that no model of that form has is refused") {
    const TempDir dir;
    const Model model = test::random_model(small_config(), 5);
    save_model(dir.path(), model);
    SafetensorsWriter writer(dir.file("model.safetensors"));
    for (const Param& param : model.params()) {
        writer.add(param.name, param.value.view());
    }
    writer.add("backbone.layers.3.norm.weight", model.params()[0].value.view());
    writer.commit();
    CHECK(error_of([&] {
              Model::load(dir.path(), host_allocator());
          }).find("tensor backbone.layers.3.norm.weight is not part of a Mamba-1 model") !=
          std::string::npos);
}

TEST_CASE("model: a directory without its files says which") {
    const TempDir dir;
    CHECK(error_of([&] {
              Model::load(dir.path(), host_allocator());
          }).find(dir.file("config.json")) == 0);
    save_model(dir.path(), test::random_model(small_config(), 5));
    const std::string weights = dir.file("model.safetensors");
    std::filesystem::remove(weights);
    CHECK(error_of([&] { Model::load(dir.path(), host_allocator()); }).find(weights) == 0);
    write_text(weights + ".index.json", "{}");
    CHECK(error_of([&] {
              Model::load(dir.path(), host_allocator());
          }).find("cut into several files") != std::string::npos);
    write_text(dir.file("pytorch_model.bin"), "PK");
    const std::string pickle = error_of([&] { Model::load(dir.path(), host_allocator()); });
    CHECK(pickle.find(dir.file("pytorch_model.bin")) == 0);
    CHECK(pickle.find("safetensors.torch.save_file") != std::string::npos);
}

TEST_CASE("model: a tied embedding is found under any of its names, and once or twice") {
    const TempDir dir;
    const Model model = test::random_model(small_config(), 5);
    save_model(dir.path(), model);
    const std::string weights = dir.file("model.safetensors");
    for (const char* name : {"backbone.embedding.weight", "lm_head.weight"}) {
        write_weights(weights, model, [&](std::string& each, ConstTensorView&) {
            if (each == "backbone.embeddings.weight") {
                each = name;
            }
        });
        CHECK(Model::load(dir.path(), host_allocator()).hash() == model.hash());
    }
    SafetensorsWriter twice(weights);
    for (const Param& param : model.params()) {
        twice.add(param.name, param.value.view());
    }
    Tensor head(host_allocator(), DType::f32, model.params()[0].shape, "test");
    std::memcpy(head.view().data(), model.params()[0].value.view().data(),
                static_cast<std::size_t>(head.bytes()));
    twice.add("lm_head.weight", head.view());
    twice.commit();
    CHECK(Model::load(dir.path(), host_allocator()).hash() == model.hash());
    static_cast<float*>(head.view().data())[0] += 1.0F;
    twice.commit();
    CHECK(error_of([&] {
              Model::load(dir.path(), host_allocator());
          }).find("tensor lm_head.weight differs from backbone.embeddings.weight") !=
          std::string::npos);
}

TEST_CASE("model: convert goes round all forms without a changed bit") {
    for (const bool everything : {false, true}) {
        const TempDir dir;
        Model model = test::random_model(small_config(everything), 5);
        model.provenance() = some_provenance();
        save_model(dir.file("ours"), model);
        Allocator& host = host_allocator();
        convert(dir.file("ours"), dir.file("original"), DirectoryForm::state_spaces, {}, host);
        CHECK(error_of([&] {
                  Model::load(dir.file("original"), host);
              }).find("mambase model convert") != std::string::npos);
        convert(dir.file("original"), dir.file("hf"), DirectoryForm::hf, {}, host);
        CHECK(read_text(dir.file("hf/config.json")).find("mambase") == std::string::npos);
        convert(dir.file("hf"), dir.file("back"), DirectoryForm::mambase, some_provenance(), host);
        const Model back = Model::load(dir.file("back"), host);
        CHECK(back.config() == model.config());
        CHECK(back.provenance() == model.provenance());
        CHECK(back.hash() == model.hash());
        for (const char* name : {"/config.json", "/model.safetensors"}) {
            CHECK(read_text(dir.file("back") + name) == read_text(dir.file("ours") + name));
        }
        const SafetensorsFile original(dir.file("original/model.safetensors"));
        CHECK(original.find("backbone.embedding.weight") != nullptr);
        CHECK(original.find("lm_head.weight") != nullptr);
        CHECK(original.find("backbone.embeddings.weight") == nullptr);
    }
    CHECK(error_of([] { parse_directory_form("onnx"); }).find("'onnx'") == 0);
}

TEST_CASE("model: what the original code has no form for is said, and nothing is written") {
    const TempDir dir;
    ModelConfig config = small_config();
    config.norm_eps = 1e-6F;
    save_model(dir.file("m"), test::random_model(config, 1));
    CHECK(error_of([&] {
              convert(dir.file("m"), dir.file("o"), DirectoryForm::state_spaces, {},
                      host_allocator());
          }).find("epsilon") != std::string::npos);
    CHECK_FALSE(exists(dir.file("o")));
}

TEST_CASE("model: the summary tells sizes, origin and hash") {
    Model model = Model::initialise(preset("tiny"), 0, host_allocator());
    CHECK(summary_text(model).find("not said; its context counts as 8,192 bases") !=
          std::string::npos);
    model.provenance() = some_provenance();
    const std::string text = summary_text(model);
    CHECK(text.find("blocks 130,816") != std::string::npos);
    CHECK(text.find("1,024 bases") != std::string::npos);
    CHECK(text.find(model.hash()) != std::string::npos);
    CHECK(summary_json(model).find("\"total\": 131904") != std::string::npos);
}

TEST_CASE("model: initialisation has the distributions of the specification") {
    ModelConfig config = ModelConfig::of_width(64, 4);
    config.use_bias = true;
    config.tie_embeddings = false;
    const Model model = Model::initialise(config, 11, host_allocator());
    struct Case {
        const char* name;
        double low, high;  // every value lies within, and the extremes come near
    };
    const double out_proj = 1.0 / std::sqrt(128.0 * 4.0);
    for (const Case each :
         {Case{"in_proj.weight", -0.125, 0.125},
          Case{"x_proj.weight", -1 / std::sqrt(128.0), 1 / std::sqrt(128.0)},
          Case{"conv1d.weight", -0.5, 0.5}, Case{"conv1d.bias", -0.5, 0.5},
          Case{"dt_proj.weight", -0.5, 0.5}, Case{"out_proj.weight", -out_proj, out_proj}}) {
        CAPTURE(each.name);
        const Param& param = *model.params().find(concat("backbone.layers.2.mixer.", each.name));
        const auto* const values = static_cast<const float*>(param.value.view().data());
        double low = 1e9;
        double high = -1e9;
        for (std::int64_t i = 0; i < param.shape.count(); ++i) {
            low = std::min(low, static_cast<double>(values[i]));
            high = std::max(high, static_cast<double>(values[i]));
        }
        CHECK(low >= each.low);
        CHECK(high <= each.high);
        CHECK(low < 0.9 * each.low);
        CHECK(high > 0.9 * each.high);
    }
    const auto at = [&](const char* name, std::int64_t i) {
        return static_cast<double>(static_cast<const float*>(
            model.params().find(concat("backbone.layers.0.", name))->value.view().data())[i]);
    };
    for (std::int64_t i = 0; i < 128; ++i) {
        const double dt = std::log1p(std::exp(at("mixer.dt_proj.bias", i)));
        CHECK(dt >= 0.999e-3);
        CHECK(dt <= 1.001e-1);
        CHECK(at("mixer.D", i) == 1.0);
        CHECK(at("mixer.in_proj.bias", i) == 0.0);
        CHECK(at("mixer.A_log", i * 16 + 15) == Approx(std::log(16.0)));
    }
    CHECK(at("norm.weight", 0) == 1.0);
    const Param& table = model.params()[model.params().embedding()];
    const auto* const values = static_cast<const float*>(table.value.view().data());
    double squares = 0.0;
    for (std::int64_t i = 0; i < table.shape.count(); ++i) {
        squares += static_cast<double>(values[i]) * static_cast<double>(values[i]);
    }
    CHECK(std::sqrt(squares / static_cast<double>(table.shape.count())) ==
          Approx(0.02).epsilon(0.1));
    CHECK(Model::initialise(config, 11, host_allocator()).hash() == model.hash());
    CHECK(Model::initialise(config, 12, host_allocator()).hash() != model.hash());
}

TEST_CASE("parameters: decay is on matrices and the embedding alone") {
    const ParamTable params(small_config(true));
    for (const Param& param : params) {
        CAPTURE(param.name);
        const bool matrix = param.shape.rank() > 1 && param.name.find("A_log") == std::string::npos;
        CHECK(param.decay == matrix);
    }
}

}  // namespace mambase::model
