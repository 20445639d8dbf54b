#include "model/json_reader.hpp"

#include "base/text.hpp"

#include <limits>
#include <utility>
#include <vector>

namespace mambase::model {

namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;
constexpr auto kMaxSigned = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

bool read(const json& value, bool& out) {
    if (!value.is_boolean()) {
        return false;
    }
    out = value.get<bool>();
    return true;
}

bool read(const json& value, std::string& out) {
    if (!value.is_string()) {
        return false;
    }
    out = value.get<std::string>();
    return true;
}

bool read(const json& value, double& out) {
    if (!value.is_number()) {
        return false;
    }
    out = value.get<double>();
    return true;
}

bool read(const json& value, std::int64_t& out) {
    if (!value.is_number_integer() ||
        (value.is_number_unsigned() && value.get<std::uint64_t>() > kMaxSigned)) {
        return false;
    }
    out = value.get<std::int64_t>();
    return true;
}

bool read(const json& value, std::uint64_t& out) {
    if (!value.is_number_unsigned()) {
        return false;
    }
    out = value.get<std::uint64_t>();
    return true;
}

std::string_view type_name(const bool& /*of*/) {
    return "true or false";
}
std::string_view type_name(const std::string& /*of*/) {
    return "a string";
}
std::string_view type_name(const double& /*of*/) {
    return "a number";
}
std::string_view type_name(const std::int64_t& /*of*/) {
    return "a whole number";
}
std::string_view type_name(const std::uint64_t& /*of*/) {
    return "a whole number, not negative";
}

}  // namespace

json parse_json(std::string_view text, const std::string& file) {
    std::vector<std::set<std::string>> keys;  // of the objects that are open
    const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
        if (depth > kMaxDepth) {
            throw Error(ErrorCode::format, "JSON is nested too deeply").at(file);
        }
        if (event == json::parse_event_t::object_start) {
            keys.emplace_back();
        } else if (event == json::parse_event_t::object_end) {
            keys.pop_back();
        } else if (event == json::parse_event_t::key &&
                   !keys.back().insert(parsed.get<std::string>()).second) {
            throw Error(ErrorCode::format,
                        concat("the key \"", parsed.get<std::string>(), "\" is given twice"))
                .at(file);
        }
        return true;
    };
    try {
        return json::parse(text.begin(), text.end(), watch);
    } catch (const json::parse_error& problem) {
        throw Error(ErrorCode::format, "this is not JSON")
            .at(file)
            .offset(static_cast<std::int64_t>(problem.byte), "byte");
    } catch (const json::exception& problem) {  // a number out of range
        throw Error(ErrorCode::format, concat("this is not JSON: ", problem.what())).at(file);
    }
}

JsonReader::JsonReader(const json& object, std::string path, std::string file)
    : object_(&object), path_(std::move(path)), file_(std::move(file)) {
    if (!object.is_object()) {
        throw Error(ErrorCode::format,
                    concat(path_.empty() ? "the document" : path_, " is not a JSON object"))
            .at(file_);
    }
}

std::string JsonReader::path_of(const std::string& key) const {
    return path_.empty() ? key : concat(path_, '.', key);
}

Error JsonReader::error(const std::string& key, std::string_view what) const {
    Error problem(ErrorCode::format, concat(path_of(key), " ", what));
    problem.at(file_);
    return problem;
}

const json* JsonReader::member(const std::string& key) {
    asked_.insert(key);
    const auto found = object_->find(key);
    return found == object_->end() ? nullptr : &*found;
}

template <class T>
std::optional<T> JsonReader::find(const std::string& key) {
    const json* const value = member(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    T out{};
    if (!read(*value, out)) {
        throw error(key, concat("is not ", type_name(out)));
    }
    return out;
}

template <class T>
T JsonReader::get(const std::string& key) {
    std::optional<T> value = find<T>(key);
    if (!value) {
        throw error(key, "is missing");
    }
    return std::move(*value);
}

JsonReader JsonReader::object(const std::string& key) {
    const json* const value = member(key);
    if (value == nullptr) {
        throw error(key, "is missing");
    }
    return {*value, path_of(key), file_};
}

void JsonReader::require_all_known() const {
    for (const auto& [key, value] : object_->items()) {
        if (asked_.count(key) == 0) {
            throw error(key, "is not a known key");
        }
    }
}

json JsonReader::rest() const {
    json out = json::object();
    for (const auto& [key, value] : object_->items()) {
        if (asked_.count(key) == 0) {
            out[key] = value;
        }
    }
    return out;
}

template std::optional<bool> JsonReader::find(const std::string&);
template std::optional<double> JsonReader::find(const std::string&);
template std::optional<std::int64_t> JsonReader::find(const std::string&);
template std::optional<std::uint64_t> JsonReader::find(const std::string&);
template std::optional<std::string> JsonReader::find(const std::string&);
template bool JsonReader::get(const std::string&);
template double JsonReader::get(const std::string&);
template std::int64_t JsonReader::get(const std::string&);
template std::uint64_t JsonReader::get(const std::string&);
template std::string JsonReader::get(const std::string&);

}  // namespace mambase::model
