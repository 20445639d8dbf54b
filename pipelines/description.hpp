// The JSON beside an output: what its numbers are, and what they come from.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/shard_files.hpp"

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace mambase::pipelines {

/// Adds context ("whole" or bases), gap, tokenizer (name and hash), of a shard the object "shard",
/// version of the program, and its command line unless no_pg.
void add_origin(nlohmann::ordered_json& json,
                const ReadingOptions& reading,
                std::int64_t context,
                const io::Tokenizer& tokenizer,
                const std::optional<ShardFacts>& shard,
                const Runtime& runtime);

/// Of a description's file. To be made before anything appears: what stops inside the JSON library
/// for want of memory ends the process.
std::string json_text(const nlohmann::ordered_json& json);
/// In one line.
std::string json_line(const nlohmann::ordered_json& json);

/// Whole, by rename.
void write_json(const std::string& path, const nlohmann::ordered_json& json);

/// "c" of "a/b/c".
std::string file_name(const std::string& path);

}  // namespace mambase::pipelines
