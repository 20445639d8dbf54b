#include "pipelines/shard_files.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <charconv>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

namespace {

using Json = nlohmann::ordered_json;

Shard shard_of(const Json& description, const std::string& path) {
    try {
        const Json& shard = description.at("shard");
        const Shard out{shard.at("index").get<std::int64_t>() - 1,
                        shard.at("count").get<std::int64_t>()};
        if (out.index >= 0 && out.index < out.count && out.count <= kMostShards) {
            return out;
        }
    } catch (const Json::exception&) {
    }
    throw Error(ErrorCode::usage, "is not a shard: it was not written with --shard").at(path);
}

/// What all shards of a run agree on.
Json common_part(Json description, std::initializer_list<std::string_view> own_keys) {
    for (const std::string_view key : own_keys) {
        description.erase(std::string(key));
    }
    Json shard = description["shard"];
    description.erase("shard");
    shard.erase("index");
    for (const auto& [key, value] : shard.items()) {
        description[concat("shard ", key)] = value;
    }
    return description;
}

std::string shown(const Json& object, const std::string& key) {
    constexpr std::size_t most = 60;
    const std::string text = object.contains(key) ? object.at(key).dump() : "not there";
    return text.size() > most ? text.substr(0, most) + "…" : text;
}

void require_same_run(const Json& first,
                      const Json& other,
                      const std::string& first_path,
                      const std::string& other_path) {
    std::vector<std::string> keys;
    for (const Json* const object : {&first, &other}) {
        for (const auto& [key, value] : object->items()) {
            keys.push_back(key);
        }
    }
    for (const std::string& key : keys) {
        const std::string a = shown(first, key);
        const std::string b = shown(other, key);
        if (first.contains(key) != other.contains(key) ||
            (first.contains(key) && first.at(key) != other.at(key))) {
            throw Error(ErrorCode::usage, concat("is a shard of another run than ", first_path,
                                                 ": ", key, " is ", b, ", not ", a))
                .at(other_path);
        }
    }
}

}  // namespace

Json shard_json(const ShardFacts& facts, DType precision) {
    return {{"index", facts.shard.index + 1},
            {"count", facts.shard.count},
            {"cut", facts.cut == ShardCut::grid ? "grid" : "record"},
            {"input", facts.input},
            {"precision", name(precision)}};
}

std::vector<std::size_t> shards_in_order(std::span<const Json> descriptions,
                                         std::span<const std::string> paths,
                                         std::initializer_list<std::string_view> own_keys) {
    constexpr std::size_t missing = static_cast<std::size_t>(-1);
    constexpr std::size_t most_named = 60;  // characters
    std::vector<std::size_t> order;
    Json first;
    for (std::size_t i = 0; i < descriptions.size(); ++i) {
        const Shard shard = shard_of(descriptions[i], paths[i]);
        Json common = common_part(descriptions[i], own_keys);
        if (i == 0) {
            order.resize(static_cast<std::size_t>(shard.count), missing);
            first = std::move(common);
        } else {
            require_same_run(first, common, paths[0], paths[i]);
        }
        std::size_t& place = order[static_cast<std::size_t>(shard.index)];
        if (place != missing) {
            throw Error(ErrorCode::usage, concat("is shard ", shard.index + 1, " of ", shard.count,
                                                 ", as is ", paths[place]))
                .at(paths[i]);
        }
        place = i;
    }
    std::string lost;
    for (std::size_t i = 0; i < order.size(); ++i) {
        if (order[i] != missing) {
            continue;
        }
        if (lost.size() > most_named) {
            lost += ", …";
            break;
        }
        lost += concat(lost.empty() ? "" : ", ", i + 1);
    }
    MAMBASE_REQUIRE(lost.empty(), ErrorCode::usage,
                    concat("of ", order.size(), " shards these are missing: ", lost));
    return order;
}

Json merged_description(Json description, const Runtime& runtime) {
    description.erase("shard");
    if (description.contains("command")) {
        if (runtime.no_pg) {
            description.erase("command");
        } else {
            description["command"] = runtime.command_line;
        }
    }
    return description;
}

std::optional<std::size_t> first_of(std::span<const std::optional<PartKey>> keys) {
    std::optional<std::size_t> first;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (keys[i] && (!first || *keys[i] < *keys[*first])) {
            first = i;
        }
    }
    return first;
}

TabbedFile::TabbedFile(const std::string& path) : path_(path), file_(path) {
    const std::span<const std::byte> bytes = file_.bytes();
    text_ = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    if (text_.empty() || text_.back() != '\n') {
        throw Error(ErrorCode::format, "was cut off: its last line has no end").at(path);
    }
}

Json TabbedFile::open_shard(std::string_view mark, std::int64_t version) {
    std::vector<std::string_view> fields;
    if (!next(fields) || fields.size() != 2 || fields[0] != mark.substr(0, mark.size() - 1)) {
        fail("is not the first line of a shard");
    }
    if (integer(fields[1]) != version) {
        fail(concat("is of version ", fields[1], "; this program reads version ", version));
    }
    const std::string_view lines = text_.substr(0, text_.size() - 1);
    try {
        return Json::parse(lines.substr(lines.rfind('\n') + 1));
    } catch (const Json::exception&) {
        throw Error(ErrorCode::format, "was cut off: its last line describes no shard").at(path_);
    }
}

bool TabbedFile::next(std::vector<std::string_view>& fields) {
    if (at_ == text_.size()) {
        return false;
    }
    const std::size_t end = text_.find('\n', at_);
    fields = split(text_.substr(at_, end - at_), '\t');
    at_ = end + 1;
    ++line_;
    return true;
}

std::int64_t TabbedFile::integer(std::string_view field) const {
    std::int64_t value = 0;
    const auto [end, failure] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (failure != std::errc() || end != field.data() + field.size()) {
        fail(concat("'", field, "' is not a whole number"));
    }
    return value;
}

double TabbedFile::real(std::string_view field) const {
    double value = 0.0;
    const auto [end, failure] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (failure != std::errc() || end != field.data() + field.size()) {
        fail(concat("'", field, "' is not a number"));
    }
    return value;
}

void TabbedFile::fail(std::string_view why) const {
    throw Error(ErrorCode::format, std::string(why)).at(path_).offset(line_, "line");
}

}  // namespace mambase::pipelines
