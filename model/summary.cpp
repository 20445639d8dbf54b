#include "base/text.hpp"
#include "model/convert.hpp"
#include "model/json_reader.hpp"

namespace mambase::model {

namespace {

using nlohmann::json;

constexpr std::size_t kColumn = 14;  // where values begin

/// Numbers of values.
struct Counts {
    std::int64_t embedding = 0;
    std::int64_t blocks = 0;
    std::int64_t norm_f = 0;
    std::int64_t head = 0;     // 0 where it is tied
    std::int64_t classes = 0;  // of a classifier's head
    std::int64_t total = 0;
};

Counts count(const Model& model) {
    const ParamTable& params = model.params();
    Counts out;
    out.total = params.count();
    out.embedding = params[params.embedding()].shape.count();
    out.norm_f = params[params.norm_f()].shape.count();
    out.head = model.config().tie_embeddings ? 0 : params[params.head()].shape.count();
    out.classes = model.config().n_classes * (model.config().d_model + 1);
    out.blocks = out.total - out.embedding - out.norm_f - out.head - out.classes;
    return out;
}

void add_line(std::string& out, std::string_view what, std::string_view value) {
    out += concat(what, std::string(kColumn - what.size(), ' '), value, '\n');
}

std::string context_text(const Provenance& origin) {
    return origin.context == 0 ? "unbounded" : concat(format_count(origin.context), " bases");
}

}  // namespace

std::string summary_text(const Model& model) {
    const ModelConfig& config = model.config();
    const Counts counts = count(model);
    std::string out;
    add_line(out, "form", concat("Mamba-1 language model, ", config.n_layer, " blocks"));
    add_line(out, "width", concat(config.d_model, ", inner ", config.d_inner));
    add_line(
        out, "state",
        concat(config.d_state, ", convolution ", config.d_conv, ", step rank ", config.dt_rank));
    add_line(out, "vocabulary",
             concat(config.vocab_size,
                    config.tie_embeddings ? ", head tied to the embedding" : ", head of its own"));
    add_line(out, "biases",
             concat(config.use_bias ? "projections, " : "",
                    config.use_conv_bias ? "convolution, " : "", "time step"));
    add_line(out, "parameters",
             concat(format_count(counts.total), ": embedding ", format_count(counts.embedding),
                    ", blocks ", format_count(counts.blocks), ", last norm ",
                    format_count(counts.norm_f), ", head ", format_count(counts.head)));
    if (config.n_classes > 0) {
        add_line(out, "classifier",
                 concat(config.n_classes, " classes, ", format_count(counts.classes),
                        " parameters (classifier.json says which)"));
    }
    const auto& origin = model.provenance();
    if (!origin) {
        add_line(
            out, "origin",
            concat("not said; its context counts as ", format_count(kDefaultContext), " bases"));
    } else {
        add_line(out, "tokenizer", concat(origin->tokenizer, " (", origin->tokenizer_hash, ")"));
        add_line(out, "context", context_text(*origin));
        add_line(out, "training",
                 concat(format_count(origin->steps), " steps, seed ", origin->seed, ", data ",
                        origin->training_data.empty() ? "none" : origin->training_data));
        add_line(out, "made by", concat("mambase ", origin->tool_version));
        add_line(out, "licence", origin->licence.empty() ? "not said" : origin->licence);
    }
    add_line(out, "sha256", model.hash());
    return out;
}

std::string summary_json(const Model& model) {
    const Counts counts = count(model);
    json out = json::parse(config_json(model.config_file()));
    out["parameters"] = {{"total", counts.total},
                         {"embedding", counts.embedding},
                         {"blocks", counts.blocks},
                         {"norm_f", counts.norm_f},
                         {"head", counts.head}};
    if (counts.classes > 0) {
        out["parameters"]["classify_head"] = counts.classes;
    }
    out["sha256"] = model.hash();
    return out.dump(2) + "\n";
}

}  // namespace mambase::model
