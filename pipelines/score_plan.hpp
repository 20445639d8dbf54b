// What a scoring run reads, found before anything is computed.
#pragma once

#include "genomics_io/indexed_fasta.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"
#include "model/model.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/score.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// Of records and regions that wait under TMPDIR together, unless one alone has more.
inline constexpr std::int64_t kBasesTogether = std::int64_t{1} << 26;
inline constexpr std::int64_t kRecordsTogether = std::int64_t{1} << 16;
inline constexpr std::int64_t kLongestBin = 100'000'000;

struct ScoreInput {
    std::string path;
    std::optional<io::IndexedFasta> fasta;  // read by random access; else in one sweep
    std::vector<RowSpan> spans;             // with `fasta`: sorted by contig, each base once
};

struct ScorePlan {
    std::vector<ScoreInput> inputs;
    std::int64_t bases = 0;     // that are asked for; 0: not known, as of a stream
    std::int64_t computed = 0;  // through the model, for one strand
};

/// Errors as of score() for what cannot be read.
ScorePlan plan_scores(const ScoreOptions& options,
                      const io::WindowOptions& windows,
                      const Observer& observer);

/// For people: sequence, memory and time; several lines.
std::string describe(const ScorePlan& plan,
                     const ScoreOptions& options,
                     Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t context);

}  // namespace mambase::pipelines
