// merge: the files of n shards to the file of the run without shards.
#pragma once

#include "pipelines/embed.hpp"
#include "pipelines/evaluate.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/score.hpp"

#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct MergeOptions {
    std::vector<std::string> shards;  // arrays of embed, or what evaluate or score wrote; in any
                                      // order
    std::string output;               // "….npy"; a track of scores, by the end of its name; or a
                                      // table; "-" is standard output

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

/// Of what was merged.
struct MergeReport {
    std::optional<EvaluateReport> evaluation;
    std::optional<EmbedReport> embedding;
    std::optional<ScoreReport> scores;
};

/// Each file as merge_evaluation(), merge_embeddings() or merge_scores() says, by what the first
/// one is. Error{format} for a file that is none; Error{usage} where they are of several kinds, or
/// one of them is the output.
MergeReport merge(const MergeOptions& options, const Runtime& runtime);

}  // namespace mambase::pipelines
