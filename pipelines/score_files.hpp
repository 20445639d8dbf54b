// What lies beside a track of scores: what its values are.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/score.hpp"

#include <string>

namespace mambase::pipelines {

/// The JSON beside the track: format and its version, track (file name), value, unit, strand, bin,
/// bases scored, model (its hash), and what add_origin() adds.
void write_score_description(const std::string& path,
                             const ScoreOptions& options,
                             const ScoreReport& report,
                             const std::string& model_hash,
                             const io::Tokenizer& tokenizer,
                             const Runtime& runtime);

}  // namespace mambase::pipelines
