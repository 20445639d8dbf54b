#include "pipelines/merge.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "pipelines/embed_merge.hpp"
#include "pipelines/evaluate_shard.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/score_shard.hpp"

#include <filesystem>
#include <span>
#include <string_view>
#include <system_error>

namespace mambase::pipelines {

namespace {

enum class Kind { embedding, evaluation, scores };

Kind kind_of(const std::string& path) {
    const MappedFile file(path);
    const std::span<const std::byte> bytes = file.bytes();
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.starts_with("\x93NUMPY")) {
        return Kind::embedding;
    }
    if (text.starts_with(kEvaluateShardMark)) {
        return Kind::evaluation;
    }
    if (text.starts_with(kScoreShardMark)) {
        return Kind::scores;
    }
    throw Error(ErrorCode::format,
                "is not a shard: neither an array of embed (.npy) nor what evaluate or score "
                "--shard writes")
        .at(path);
}

}  // namespace

void MergeOptions::validate() const {
    std::vector<std::string> violations;
    if (shards.empty()) {
        violations.emplace_back("no shard to merge");
    }
    if (output.empty()) {
        violations.emplace_back("no output file");
    }
    throw_violations(violations);
}

MergeReport merge(const MergeOptions& options, const Runtime& runtime) {
    options.validate();
    const Kind kind = kind_of(options.shards.front());
    for (const std::string& path : options.shards) {
        if (kind_of(path) != kind) {
            throw Error(ErrorCode::usage,
                        concat("is a shard of another command than ", options.shards.front()))
                .at(path);
        }
        std::error_code ignored;
        if (std::filesystem::equivalent(path, options.output, ignored)) {
            throw Error(ErrorCode::usage, "is a shard and the output").at(path);
        }
    }
    MergeReport report;
    if (kind == Kind::scores) {
        report.scores = merge_scores(options.shards, options.output, runtime);
        return report;
    }
    if (kind == Kind::evaluation) {
        report.evaluation = merge_evaluation(options.shards, options.output, runtime);
        return report;
    }
    MAMBASE_REQUIRE(options.output.ends_with(".npy"), ErrorCode::usage,
                    concat("these are arrays, so the output's name ends in .npy, not \"",
                           options.output, "\""));
    report.embedding = merge_embeddings(options.shards, options.output, runtime);
    return report;
}

}  // namespace mambase::pipelines
