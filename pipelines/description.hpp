// The JSON beside an output: what its numbers are, and what they come from.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace mambase::pipelines {

/// Adds context ("whole" or bases), gap, tokenizer (name and hash), version of the program, and its
/// command line unless no_pg.
void add_origin(nlohmann::ordered_json& json,
                const ReadingOptions& reading,
                std::int64_t context,
                const io::Tokenizer& tokenizer,
                const Runtime& runtime);

/// Whole, by rename.
void write_description(const std::string& path, const nlohmann::ordered_json& json);

/// "c" of "a/b/c".
std::string file_name(const std::string& path);

}  // namespace mambase::pipelines
