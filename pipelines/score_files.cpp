#include "pipelines/score_files.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "pipelines/description.hpp"

#include <filesystem>
#include <system_error>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

ScoreTrack::ScoreTrack(const std::string& path,
                       std::string_view value,
                       std::int64_t bin,
                       int threads)
    : path_(path), sink_(io::open_track(path, value, bin, threads)) {}

void ScoreTrack::open(const RowSpan& part) {
    if (part.input != input_ || part.contig != contig_) {
        sink_->contig(part.name, part.length);
        input_ = part.input;
        contig_ = part.contig;
    }
}

void ScoreTrack::values(std::int64_t begin, std::span<const float> values) {
    sink_->values(begin, values);
}

void ScoreTrack::finish(const nlohmann::ordered_json& description) {
    const std::string beside = description_path(path_);
    if (!beside.empty()) {
        write_json(beside, description);
    }
    try {
        sink_->finish();
    } catch (...) {  // it means nothing without the values
        std::error_code ignored;
        std::filesystem::remove(beside, ignored);
        throw;
    }
}

std::string description_path(const std::string& track) {
    return track == "-" ? "" : concat(io::track_stem(track), ".json");
}

nlohmann::ordered_json score_description(const ScoreOptions& options,
                                         const ScoreReport& report,
                                         const std::string& model_hash,
                                         const io::Tokenizer& tokenizer,
                                         const std::optional<ShardFacts>& shard,
                                         const Runtime& runtime) {
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    json["format"] = "mambase track";
    json["format_version"] = 1;
    json["track"] = file_name(options.output);
    json["value"] = name(options.what);
    json["unit"] = "nats";
    json["strand"] = name(options.strand);
    json["bin"] = options.bin;
    json["bases_scored"] = report.scored;
    if (shard) {
        json["sum"] = report.sum;
    }
    json["model"] = model_hash;
    add_origin(json, options.reading, report.context, tokenizer, shard, runtime);
    return json;
}

}  // namespace mambase::pipelines
