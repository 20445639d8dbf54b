#include "pipelines/score_files.hpp"

#include "pipelines/description.hpp"

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

void write_score_description(const std::string& path,
                             const ScoreOptions& options,
                             const ScoreReport& report,
                             const std::string& model_hash,
                             const io::Tokenizer& tokenizer,
                             const Runtime& runtime) {
    nlohmann::ordered_json json;
    json["format"] = "mambase track";
    json["format_version"] = 1;
    json["track"] = file_name(report.output);
    json["value"] = name(options.what);
    json["unit"] = "nats";
    json["strand"] = name(options.strand);
    json["bin"] = options.bin;
    json["bases_scored"] = report.scored;
    json["model"] = model_hash;
    add_origin(json, options.reading, report.context, tokenizer, std::nullopt, runtime);
    write_json(path, json);
}

}  // namespace mambase::pipelines
