#include "model/convert.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "model/json_reader.hpp"
#include "model/safetensors.hpp"

#include <utility>

namespace mambase::model {

namespace {

using nlohmann::json;

constexpr float kOriginalEps = 1e-5F;  // the original language model never uses another

/// config.json of the original code (spec Mamba 1.10 a): its MambaConfig, where only rms_norm
/// models of plain Mamba-1 blocks are ours.
ConfigFile parse_state_spaces(const json& document, const std::string& path) {
    JsonReader reader(document, "", path);
    ModelConfig model = ModelConfig::of_width(reader.get<std::int64_t>("d_model"),
                                              reader.get<std::int64_t>("n_layer"));
    const std::int64_t multiple = reader.find<std::int64_t>("pad_vocab_size_multiple").value_or(8);
    if (multiple < 1) {
        throw reader.error("pad_vocab_size_multiple", "is not positive");
    }
    model.vocab_size = round_up(reader.get<std::int64_t>("vocab_size"), multiple);
    model.tie_embeddings = reader.find<bool>("tie_embeddings").value_or(true);
    if (!reader.find<bool>("rms_norm").value_or(true)) {
        throw reader.error("rms_norm", "is false; this program reads models with RMSNorm");
    }
    if (reader.find<std::int64_t>("d_intermediate").value_or(0) != 0) {
        throw reader.error("d_intermediate", "is not 0; this program has no MLP blocks");
    }
    if (document.contains("ssm_cfg")) {
        JsonReader mixer = reader.object("ssm_cfg");
        const std::string layer = mixer.find<std::string>("layer").value_or("Mamba1");
        if (layer != "Mamba1") {
            throw mixer.error("layer", concat("is \"", layer, "\"; this program reads Mamba1"));
        }
        model.d_state = mixer.find<std::int64_t>("d_state").value_or(model.d_state);
        model.d_conv = mixer.find<std::int64_t>("d_conv").value_or(model.d_conv);
        const json* const rank = mixer.member("dt_rank");
        if (rank != nullptr && *rank != "auto") {
            model.dt_rank = mixer.get<std::int64_t>("dt_rank");
        }
        model.d_inner = checked_mul(mixer.find<std::int64_t>("expand").value_or(2), model.d_model);
    }
    try {
        model.validate();
    } catch (Error& problem) {
        throw Error(ErrorCode::format, problem.message()).at(path);
    }
    ConfigFile out;
    out.model = model;
    out.says_tied = true;
    return out;
}

std::string state_spaces_json(const ModelConfig& model) {
    MAMBASE_REQUIRE(model.d_inner % model.d_model == 0, ErrorCode::unsupported,
                    "the original code has no inner width that is not a multiple of the width");
    MAMBASE_REQUIRE(model.norm_eps == kOriginalEps, ErrorCode::unsupported,
                    "the original code has no other epsilon of its norms than 1e-5");
    const json mixer = {{"d_state", model.d_state},
                        {"d_conv", model.d_conv},
                        {"expand", model.d_inner / model.d_model},
                        {"dt_rank", model.dt_rank},
                        {"conv_bias", model.use_conv_bias},
                        {"bias", model.use_bias}};
    const json out = {{"d_model", model.d_model},
                      {"n_layer", model.n_layer},
                      {"vocab_size", model.vocab_size},
                      {"ssm_cfg", mixer},
                      {"rms_norm", true},
                      {"residual_in_fp32", true},
                      {"fused_add_norm", true},
                      {"pad_vocab_size_multiple", 1},
                      {"tie_embeddings", model.tie_embeddings}};
    return out.dump(2) + "\n";
}

void save_state_spaces(const std::string& dir, const Model& model) {
    const std::string config = state_spaces_json(model.config());
    make_directories(dir);
    const ParamTable& params = model.params();
    SafetensorsWriter weights(dir + "/model.safetensors");
    weights.set_metadata("format", "pt");
    for (std::size_t i = 0; i < params.size(); ++i) {
        const bool table = i == params.embedding();
        weights.add(table ? "backbone.embedding.weight" : params[i].name, params[i].value.view());
    }
    if (model.config().tie_embeddings) {  // the original names both
        weights.add("lm_head.weight", params[params.embedding()].value.view());
    }
    weights.commit();
    write_text(dir + "/config.json", config);
}

}  // namespace

DirectoryForm parse_directory_form(std::string_view word) {
    if (word == "mambase") {
        return DirectoryForm::mambase;
    }
    if (word == "hf") {
        return DirectoryForm::hf;
    }
    if (word == "state-spaces") {
        return DirectoryForm::state_spaces;
    }
    throw Error(ErrorCode::usage,
                concat("'", word, "' is not a form of a model: mambase, hf, state-spaces"));
}

Model load_any_form(const std::string& dir, Allocator& allocator) {
    const std::string path = dir + "/config.json";
    const std::string text = read_text(path);
    const json document = parse_json(text, path);
    const bool original =
        document.is_object() && document.contains("d_model") && !document.contains("hidden_size");
    return Model::load(
        dir, original ? parse_state_spaces(document, path) : parse_config(text, path), allocator);
}

void convert(const std::string& in,
             const std::string& out,
             DirectoryForm to,
             const std::optional<Provenance>& provenance,
             Allocator& allocator) {
    Model model = load_any_form(in, allocator);
    if (model.config().n_classes > 0) {  // neither of the other two has such a head, nor its labels
        model = model.with_classes(0);
    }
    switch (to) {
        case DirectoryForm::mambase:
            if (!model.provenance()) {
                model.provenance() = provenance;
            }
            save_model(out, model);
            return;
        case DirectoryForm::hf:
            model.provenance().reset();
            save_model(out, model);
            return;
        case DirectoryForm::state_spaces:
            save_state_spaces(out, model);
            return;
    }
}

}  // namespace mambase::model
