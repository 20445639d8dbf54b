#include "model/classifier.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "model/json_reader.hpp"

#include <algorithm>
#include <cmath>
#include <set>

namespace mambase::model {

namespace {

using nlohmann::json;

constexpr std::int64_t kFormatVersion = 1;

/// The elements of an array that is asked for, each with the path that errors name.
const json& array_of(JsonReader& reader, const std::string& key) {
    const json* const value = reader.member(key);
    if (value == nullptr || !value->is_array()) {
        throw reader.error(key, "is missing or not an array");
    }
    return *value;
}

std::string element(const std::string& key, std::size_t index) {
    return concat(key, "[", index, "]");
}

std::vector<std::string> parse_labels(JsonReader& reader) {
    std::vector<std::string> labels;
    std::set<std::string> seen;
    for (const json& label : array_of(reader, "labels")) {
        const bool good = label.is_string() && !label.get<std::string>().empty();
        if (!good || !seen.insert(label.get<std::string>()).second) {
            throw reader.error(element("labels", labels.size()),
                               "is not a text, is empty, or stands there twice");
        }
        labels.push_back(label.get<std::string>());
    }
    if (labels.size() < 2 || labels.size() > 256) {
        throw reader.error("labels", "has not 2 to 256 elements");
    }
    return labels;
}

std::vector<Temperature> parse_temperatures(JsonReader& reader, const std::string& file) {
    std::vector<Temperature> out;
    for (const json& entry : array_of(reader, "temperatures")) {
        JsonReader member(entry, element("temperatures", out.size()), file);
        const Temperature one{member.get<std::int64_t>("length"), member.get<double>("value")};
        member.require_all_known();
        if (one.length <= (out.empty() ? 0 : out.back().length)) {
            throw member.error("length", "is not above the one before it");
        }
        if (!(one.value > 0.0)) {
            throw member.error("value", "is not above 0");
        }
        out.push_back(one);
    }
    if (out.empty()) {
        throw reader.error("temperatures", "is empty");
    }
    return out;
}

std::vector<Taxon> parse_taxonomy(JsonReader& reader, const std::string& file) {
    std::vector<Taxon> out;
    for (const json& entry : array_of(reader, "taxonomy")) {
        JsonReader member(entry, element("taxonomy", out.size()), file);
        out.push_back({member.get<std::int64_t>("taxid"), member.get<std::int64_t>("parent"),
                       member.get<std::string>("rank"), member.get<std::string>("name"),
                       member.get<std::string>("label")});
        member.require_all_known();
    }
    return out;
}

}  // namespace

double Classifier::temperature(std::int64_t length) const {
    const auto above = std::lower_bound(
        temperatures.begin(), temperatures.end(), length,
        [](const Temperature& fitted, std::int64_t asked) { return fitted.length < asked; });
    if (above == temperatures.begin()) {
        return above->value;
    }
    const Temperature& low = *(above - 1);
    if (above == temperatures.end()) {
        return low.value;
    }
    const auto log_of = [](std::int64_t bases) { return std::log(static_cast<double>(bases)); };
    const double share =
        (log_of(length) - log_of(low.length)) / (log_of(above->length) - log_of(low.length));
    return std::exp((1.0 - share) * std::log(low.value) + share * std::log(above->value));
}

Classifier parse_classifier(std::string_view text, const std::string& file) {
    const json document = parse_json(text, file);
    JsonReader reader(document, "", file);
    if (reader.get<std::int64_t>("format_version") != kFormatVersion) {
        throw reader.error("format_version", concat("is not ", kFormatVersion));
    }
    Classifier out;
    out.labels = parse_labels(reader);
    const std::string pool = reader.get<std::string>("pool");
    if (pool != name(HeadPool::mean) && pool != name(HeadPool::last)) {
        throw reader.error("pool", "is neither \"mean\" nor \"last\"");
    }
    out.pool = pool == name(HeadPool::mean) ? HeadPool::mean : HeadPool::last;
    out.window = reader.get<std::int64_t>("window");
    if (out.window < 1) {
        throw reader.error("window", "is not above 0");
    }
    out.gap = reader.get<std::int64_t>("gap");
    if (out.gap < 1 || out.gap > out.window) {
        throw reader.error("gap", "is not from 1 to the window");
    }
    out.temperatures = parse_temperatures(reader, file);
    out.confidence = reader.get<double>("confidence");
    if (!(out.confidence >= 0.0 && out.confidence <= 1.0)) {
        throw reader.error("confidence", "is not from 0 to 1");
    }
    out.taxonomy = parse_taxonomy(reader, file);
    out.base_model = reader.get<std::string>("base_model");
    out.frozen = reader.get<bool>("frozen");
    out.samples = reader.get<std::string>("samples");
    reader.require_all_known();
    return out;
}

Classifier read_classifier(const std::string& dir) {
    const std::string path = concat(dir, "/", kClassifierName);
    if (!exists(path)) {
        throw Error(ErrorCode::not_found,
                    "no such file: this is no classifier; make one with mambase classify train")
            .at(path);
    }
    return parse_classifier(read_text(path), path);
}

Model load_classifier(const std::string& dir, const Classifier& classifier) {
    Model out = Model::load(dir, host_allocator());
    if (out.config().n_classes != static_cast<std::int64_t>(classifier.labels.size())) {
        throw Error(ErrorCode::format, concat("classifier.json has ", classifier.labels.size(),
                                              " labels, classify_head.weight of model.safetensors ",
                                              out.config().n_classes))
            .at(dir);
    }
    return out;
}

std::string classifier_json(const Classifier& classifier) {
    nlohmann::ordered_json out = nlohmann::ordered_json::object();
    out["format_version"] = kFormatVersion;
    out["labels"] = classifier.labels;
    out["pool"] = name(classifier.pool);
    out["window"] = classifier.window;
    out["gap"] = classifier.gap;
    out["temperatures"] = json::array();
    for (const Temperature& one : classifier.temperatures) {
        out["temperatures"].push_back({{"length", one.length}, {"value", one.value}});
    }
    out["confidence"] = classifier.confidence;
    out["taxonomy"] = json::array();
    for (const Taxon& taxon : classifier.taxonomy) {
        out["taxonomy"].push_back({{"taxid", taxon.taxid},
                                   {"parent", taxon.parent},
                                   {"rank", taxon.rank},
                                   {"name", taxon.name},
                                   {"label", taxon.label}});
    }
    out["base_model"] = classifier.base_model;
    out["frozen"] = classifier.frozen;
    out["samples"] = classifier.samples;
    try {
        return out.dump(2) + "\n";
    } catch (const json::exception&) {  // the one way dump() fails
        throw Error(ErrorCode::usage, "a label or a name of the taxonomy is not UTF-8");
    }
}

void write_classifier(const std::string& dir, const Classifier& classifier) {
    write_text(concat(dir, "/", kClassifierName), classifier_json(classifier));
}

}  // namespace mambase::model
