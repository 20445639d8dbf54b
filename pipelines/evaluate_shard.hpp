// A shard of evaluate: its sums by block, in a text file (docs/formats/shards.md).
#pragma once

#include "base/file.hpp"
#include "pipelines/evaluate.hpp"
#include "pipelines/evaluate_sums.hpp"
#include "pipelines/evaluate_table.hpp"
#include "pipelines/runtime.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace mambase::pipelines {

/// How such a file begins.
inline constexpr std::string_view kEvaluateShardMark = "#mambase-evaluate-shard\t";

/// What the description of a shard has of the lines of its table.
nlohmann::ordered_json lines_json(const EvaluateLines& lines);

class EvaluateShardWriter : public SumSink {
  public:
    /// Appears under its name at finish(); "-" is standard output.
    EvaluateShardWriter(const std::string& path, const EvaluateLines& lines);

    void part(const EvaluatePart& part) override;
    void block(SumLine line, std::span<const CaseTally> at_contexts) override;
    /// `description` makes the last line.
    void finish(const nlohmann::ordered_json& description);

    const LineSum& all() const { return all_; }
    std::int64_t parts() const { return parts_; }

  private:
    OutputFile out_;
    LineSum all_;
    std::int64_t parts_ = 0;
};

/// Adds up the shards of one run, in any order, to the table that the run without shards writes.
/// Errors of shards_in_order(); Error{format} for a file that is damaged.
EvaluateReport merge_evaluation(const std::vector<std::string>& paths,
                                const std::string& output,
                                const Runtime& runtime);

}  // namespace mambase::pipelines
