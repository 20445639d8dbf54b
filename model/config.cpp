#include "model/config.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "model/json_reader.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace mambase::model {

namespace {

using nlohmann::json;

constexpr std::int64_t kFormatVersion = 1;

/// The double that prints as the float does: 1e-5F is 1e-05 in JSON, not 9.99999974738e-06.
double as_printed(float value) {
    std::array<char, 64> text{};
    const auto printed = std::to_chars(text.data(), text.data() + text.size(), value);
    double out = 0.0;
    std::from_chars(text.data(), printed.ptr, out);
    return out;
}

Provenance parse_provenance(JsonReader reader) {
    Provenance out;
    out.format_version = reader.get<std::int64_t>("format_version");
    if (out.format_version != kFormatVersion) {
        throw reader.error(
            "format_version",
            concat("is ", out.format_version, "; this program reads version ", kFormatVersion));
    }
    out.tokenizer = reader.get<std::string>("tokenizer");
    out.tokenizer_hash = reader.get<std::string>("tokenizer_hash");
    const json* const context = reader.member("context");
    if (context != nullptr && *context == "unbounded") {
        out.context = 0;
    } else {
        out.context = reader.get<std::int64_t>("context");
        if (out.context < 1) {
            throw reader.error("context", "is neither a positive whole number nor \"unbounded\"");
        }
    }
    out.training_data = reader.get<std::string>("training_data");
    out.steps = reader.get<std::int64_t>("steps");
    out.seed = reader.get<std::uint64_t>("seed");
    out.tool_version = reader.get<std::string>("tool_version");
    out.licence = reader.get<std::string>("licence");
    reader.require_all_known();
    return out;
}

json provenance_json(const Provenance& from) {
    json out = json::object();
    out["format_version"] = from.format_version;
    out["tokenizer"] = from.tokenizer;
    out["tokenizer_hash"] = from.tokenizer_hash;
    out["context"] = from.context == 0 ? json("unbounded") : json(from.context);
    out["training_data"] = from.training_data;
    out["steps"] = from.steps;
    out["seed"] = from.seed;
    out["tool_version"] = from.tool_version;
    out["licence"] = from.licence;
    return out;
}

/// Hugging Face's names, their class defaults where a key is not there; "auto" is ceil(D / 16).
ModelConfig parse_sizes(JsonReader& reader) {
    ModelConfig out;
    out.vocab_size = reader.get<std::int64_t>("vocab_size");
    out.d_model = reader.get<std::int64_t>("hidden_size");
    out.n_layer = reader.get<std::int64_t>("num_hidden_layers");
    out.d_state = reader.find<std::int64_t>("state_size").value_or(out.d_state);
    out.d_conv = reader.find<std::int64_t>("conv_kernel").value_or(out.d_conv);
    const std::optional<std::int64_t> inner = reader.find<std::int64_t>("intermediate_size");
    out.d_inner =
        inner ? *inner : checked_mul(reader.find<std::int64_t>("expand").value_or(2), out.d_model);
    const json* const rank = reader.member("time_step_rank");
    out.dt_rank = rank == nullptr || *rank == "auto" ? ceil_div(out.d_model, 16)
                                                     : reader.get<std::int64_t>("time_step_rank");
    out.norm_eps = static_cast<float>(reader.find<double>("layer_norm_epsilon").value_or(1e-5));
    out.use_bias = reader.find<bool>("use_bias").value_or(out.use_bias);
    out.use_conv_bias = reader.find<bool>("use_conv_bias").value_or(out.use_conv_bias);
    out.tie_embeddings = reader.find<bool>("tie_word_embeddings").value_or(out.tie_embeddings);
    out.dt_min = reader.find<double>("time_step_min").value_or(out.dt_min);
    out.dt_max = reader.find<double>("time_step_max").value_or(out.dt_max);
    out.dt_init_floor = reader.find<double>("time_step_floor").value_or(out.dt_init_floor);
    out.dt_scale = reader.find<double>("time_step_scale").value_or(out.dt_scale);
    out.dt_init_constant =
        reader.find<std::string>("time_step_init_scheme").value_or("random") == "constant";
    return out;
}

/// What Hugging Face writes beside the sizes for a model made by its class. The special tokens are
/// those of the `dna` tokenizer where the vocabulary is its own.
json default_keys(const ModelConfig& model) {
    const bool dna = model.vocab_size >= 12 && model.vocab_size <= 16;
    json out = json::object();
    out["architectures"] = {"MambaForCausalLM"};
    out["model_type"] = "mamba";
    out["hidden_act"] = "silu";
    out["dtype"] = "float32";
    out["residual_in_fp32"] = true;
    out["rescale_prenorm_residual"] = false;
    out["initializer_range"] = 0.1;
    out["use_cache"] = true;
    out["use_mambapy"] = false;
    out["use_associative_scan"] = true;
    out["bos_token_id"] = dna ? 2 : 0;
    out["eos_token_id"] = dna ? 1 : 0;
    out["pad_token_id"] = dna ? 4 : 0;
    return out;
}

void require(std::string& problems, bool holds, std::string_view rule) {
    if (!holds) {
        problems += concat(problems.empty() ? "" : "; ", rule);
    }
}

}  // namespace

ModelConfig ModelConfig::of_width(std::int64_t d_model, std::int64_t n_layer, std::int64_t expand) {
    ModelConfig out;
    out.d_model = d_model;
    out.n_layer = n_layer;
    out.d_inner = checked_mul(expand, d_model);
    out.dt_rank = ceil_div(d_model, 16);
    return out;
}

void ModelConfig::validate() const {
    std::string problems;
    const auto within = [&](std::string_view what, std::int64_t value, std::int64_t low,
                            std::int64_t high) {
        require(problems, value >= low && value <= high,
                concat(what, " is ", value, ", not within ", low, " to ", high));
    };
    within("vocab_size", vocab_size, 1, 256);
    within("d_model", d_model, 1, std::int64_t{1} << 16);
    within("n_layer", n_layer, 1, 4096);
    within("d_inner", d_inner, 1, std::int64_t{1} << 18);
    within("d_state", d_state, 1, 1024);
    within("d_conv", d_conv, 2, 4);
    within("dt_rank", dt_rank, 1, std::int64_t{1} << 16);
    within("n_classes", n_classes, 0, 256);
    require(problems, norm_eps > 0.0F && norm_eps < 1.0F, "norm_eps is not within 0 to 1");
    require(problems, dt_min > 0.0 && dt_min <= dt_max && dt_max < 20.0,
            "dt_min and dt_max are not 0 < dt_min <= dt_max < 20");
    require(problems, dt_init_floor > 0.0 && dt_init_floor < 20.0,
            "dt_init_floor is not within 0 to 20");
    require(problems, dt_scale > 0.0 && std::isfinite(dt_scale), "dt_scale is not positive");
    MAMBASE_REQUIRE(problems.empty(), ErrorCode::usage, concat("not a model: ", problems));
}

ConfigFile parse_config(std::string_view text, const std::string& file) {
    const json document = parse_json(text, file);
    JsonReader reader(document, "", file);
    const auto is_known = [&](const char* key, const char* expected) {
        const std::optional<std::string> value =
            JsonReader(document, "", file).find<std::string>(key);
        if (value && *value != expected) {
            throw reader.error(
                key, concat("is \"", *value, "\"; this program reads \"", expected, "\" models"));
        }
    };
    is_known("model_type", "mamba");
    is_known("hidden_act", "silu");
    if (document.contains("d_model") && !document.contains("hidden_size")) {
        throw Error(ErrorCode::format,
                    "this is a config of the original state-spaces code; convert the directory "
                    "first: mambase model convert IN OUT")
            .at(file);
    }
    ConfigFile out;
    out.model = parse_sizes(reader);
    out.says_tied = document.contains("tie_word_embeddings");
    try {
        out.model.validate();
    } catch (Error& problem) {
        throw Error(ErrorCode::format, problem.message()).at(file);
    }
    if (reader.member("mambase") != nullptr) {
        out.mambase = parse_provenance(reader.object("mambase"));
    }
    json other = reader.rest();
    if (document.contains("expand")) {  // d_inner has it; kept as it was written
        other["expand"] = document["expand"];
    }
    out.other = other.dump();
    return out;
}

ConfigFile read_config(const std::string& path) {
    return parse_config(read_text(path), path);
}

std::string config_json(const ConfigFile& config) {
    const ModelConfig& model = config.model;
    json out = config.other.empty() ? default_keys(model) : json::parse(config.other);
    if (config.other.empty() && model.d_inner % model.d_model == 0) {
        out["expand"] = model.d_inner / model.d_model;
    }
    out["vocab_size"] = model.vocab_size;
    out["hidden_size"] = model.d_model;
    out["num_hidden_layers"] = model.n_layer;
    out["intermediate_size"] = model.d_inner;
    out["state_size"] = model.d_state;
    out["conv_kernel"] = model.d_conv;
    out["time_step_rank"] = model.dt_rank;
    out["layer_norm_epsilon"] = as_printed(model.norm_eps);
    out["use_bias"] = model.use_bias;
    out["use_conv_bias"] = model.use_conv_bias;
    out["tie_word_embeddings"] = model.tie_embeddings;
    out["time_step_min"] = model.dt_min;
    out["time_step_max"] = model.dt_max;
    out["time_step_floor"] = model.dt_init_floor;
    out["time_step_scale"] = model.dt_scale;
    out["time_step_init_scheme"] = model.dt_init_constant ? "constant" : "random";
    if (config.mambase) {
        out["mambase"] = provenance_json(*config.mambase);
    }
    try {
        return out.dump(2) + "\n";
    } catch (const json::exception&) {  // the one way dump() fails
        throw Error(ErrorCode::usage, "a text of the model's origin is not UTF-8");
    }
}

}  // namespace mambase::model
