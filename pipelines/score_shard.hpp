// A shard of score: its values, part by part, in a text file (docs/formats/shards.md).
#pragma once

#include "base/file.hpp"
#include "pipelines/runtime.hpp"
#include "pipelines/score.hpp"
#include "pipelines/score_files.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mambase::pipelines {

/// How such a file begins.
inline constexpr std::string_view kScoreShardMark = "#mambase-score-shard\t";

/// About what a value takes in it, rather less.
inline constexpr std::int64_t kScoreShardBytes = 10;

class ScoreShardWriter final : public ScoreSink {
  public:
    /// Appears under its name at finish(); "-" is standard output.
    explicit ScoreShardWriter(const std::string& path);

    void open(const RowSpan& part) override;
    void values(std::int64_t begin, std::span<const float> values) override;
    /// `description` makes the last line.
    void finish(const nlohmann::ordered_json& description) override;

  private:
    OutputFile out_;
};

/// Writes the track, in the format that the end of its name says, and the description that the run
/// without shards writes (the command is that of `runtime`, and left out where the shards have
/// none). `paths`: the shards of one run, in any order. Errors of shards_in_order() and of the
/// track's format; Error{format} for a file that is damaged.
ScoreReport merge_scores(const std::vector<std::string>& paths,
                         const std::string& output,
                         const Runtime& runtime);

}  // namespace mambase::pipelines
