#include "base/error.hpp"
#include "base/text.hpp"
#include "model/config.hpp"
#include "model/json_reader.hpp"
#include "model/preset_texts.hpp"

namespace mambase::model {

Preset parse_preset(std::string_view text, const std::string& file) {
    const nlohmann::json document = parse_json(text, file);
    JsonReader reader(document, "", file);
    Preset out;
    out.name = reader.get<std::string>("name");
    out.summary = reader.get<std::string>("summary");
    JsonReader model = reader.object("model");
    out.model = ModelConfig::of_width(model.get<std::int64_t>("d_model"),
                                      model.get<std::int64_t>("n_layer"),
                                      model.get<std::int64_t>("expand"));
    out.model.d_state = model.get<std::int64_t>("d_state");
    out.model.d_conv = model.get<std::int64_t>("d_conv");
    out.model.vocab_size = model.get<std::int64_t>("vocab_size");
    out.model.dt_rank = model.find<std::int64_t>("dt_rank").value_or(out.model.dt_rank);
    model.require_all_known();
    JsonReader training = reader.object("training");
    out.context = training.get<std::int64_t>("context");
    out.bases_per_step = training.get<std::int64_t>("bases_per_step");
    out.lr = training.get<double>("lr");
    out.max_bases = training.get<std::int64_t>("max_bases");
    training.require_all_known();
    reader.require_all_known();
    try {
        out.model.validate();
    } catch (Error& problem) {
        throw Error(ErrorCode::format, problem.message()).at(file);
    }
    if (out.context < 1 || out.bases_per_step < 1 || out.max_bases < 1 || !(out.lr > 0.0)) {
        throw reader.error("training", "holds a value that is not positive");
    }
    return out;
}

const std::vector<Preset>& presets() {
    static const std::vector<Preset> all = [] {
        std::vector<Preset> parsed;
        for (const PresetText& preset : preset_texts()) {
            parsed.push_back(parse_preset(preset.text, preset.file));
        }
        return parsed;
    }();
    return all;
}

const Preset& find_preset(std::string_view name) {
    std::string names;
    for (const Preset& preset : presets()) {
        if (preset.name == name) {
            return preset;
        }
        names += concat(names.empty() ? "" : ", ", preset.name);
    }
    throw Error(ErrorCode::usage, concat("'", name, "' is not a preset: ", names));
}

ModelConfig preset(std::string_view name) {
    return find_preset(name).model;
}

}  // namespace mambase::model
