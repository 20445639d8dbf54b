// What a scoring run reads, found before anything is computed.
#pragma once

#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"
#include "model/model.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/score.hpp"
#include "pipelines/span_plan.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace mambase::pipelines {

/// Of records and regions that wait under TMPDIR together, unless one alone has more.
inline constexpr std::int64_t kBasesTogether = std::int64_t{1} << 26;
inline constexpr std::int64_t kRecordsTogether = std::int64_t{1} << 16;
inline constexpr std::int64_t kLongestBin = 100'000'000;

struct ScorePlan : SpanPlan {
    std::optional<std::int64_t> bases = 0;  // that are asked for; empty: not known (a stream)
    std::int64_t computed = 0;              // through the model, for one strand
    std::int64_t waiting = 0;               // bytes under TMPDIR, as far as they are known
};

/// Errors as of score() for what cannot be read.
ScorePlan plan_scores(const ScoreOptions& options,
                      const io::WindowOptions& windows,
                      const Observer& observer);

/// Error{io} where the file systems are too full for the output and what waits, if every base has
/// a value.
void require_feasible(const ScorePlan& plan, const ScoreOptions& options);

/// For people: sequence, memory and time; several lines.
std::string describe(const ScorePlan& plan,
                     const ScoreOptions& options,
                     Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t context);

}  // namespace mambase::pipelines
