#include "pipelines/description.hpp"

#include "base/file.hpp"

#include <filesystem>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

using nlohmann::ordered_json;

namespace {

constexpr auto kReplace = ordered_json::error_handler_t::replace;  // bytes that are not UTF-8

}  // namespace

void add_origin(ordered_json& json,
                const ReadingOptions& reading,
                std::int64_t context,
                const io::Tokenizer& tokenizer,
                const std::optional<ShardFacts>& shard,
                const Runtime& runtime) {
    json["context"] = context == kWholeContext ? ordered_json("whole") : ordered_json(context);
    json["gap"] = reading.gap;
    if (!reading.circular.empty()) {
        json["circular"] = reading.circular;
    }
    json["tokenizer"] = {{"name", tokenizer.name()}, {"hash", tokenizer.hash()}};
    if (shard) {
        json["shard"] = shard_json(*shard, runtime.precision);
    }
    json["version"] = runtime.version;
    if (!runtime.no_pg) {
        json["command"] = runtime.command_line;
    }
}

std::string json_text(const ordered_json& json) {
    return json.dump(2, ' ', false, kReplace) + "\n";
}

std::string json_line(const ordered_json& json) {
    return json.dump(-1, ' ', false, kReplace) + "\n";
}

void write_json(const std::string& path, const ordered_json& json) {
    write_text(path, json_text(json));
}

std::string file_name(const std::string& path) {
    return std::filesystem::path(path).filename().string();
}

}  // namespace mambase::pipelines
