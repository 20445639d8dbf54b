// What an embedding run reads and writes, found before anything is computed.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/indexed_fasta.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"
#include "model/model.hpp"
#include "pipelines/embed.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/shard.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// How one input is read: regions and the reverse strand by random access where the file allows it;
/// else in one sweep, its records met on the way, the reverse strand out of a spool.
struct InputPlan {
    std::string path;
    std::optional<io::IndexedFasta> fasta;
    std::vector<RowSpan> spans;        // with `fasta`: all, their rows counted from 0
    std::vector<io::Interval> groups;  // [first, last) spans whose reverse rows wait together
};

/// Of a shard: what is its own.
struct EmbedPlan {
    std::vector<InputPlan> inputs;
    std::optional<Shard> shard;
    ShardCut cut = ShardCut::record;
    std::vector<Roll> rolls;           // of a shard, one an input; by a sweep once it is read
    std::optional<std::int64_t> rows;  // at most; empty: not known (a stream)
    std::int64_t bases = 0;            // that have rows
    std::int64_t computed = 0;         // through the model, both strands counted
    std::int64_t dim = 0;
    std::int64_t waiting = 0;  // bytes under TMPDIR, as far as they are known
    io::Circles circles;       // has met what is indexed
};

/// How much of what cannot be read backwards waits under TMPDIR at once, unless one record is more.
struct SpoolLimits {
    std::int64_t records = 0;
    std::int64_t bases = 0;
};

SpoolLimits spool_limits(const Pooling& pooling, std::int64_t width);

bool both_strands(StrandChoice strand);

/// Opens an input that is read in one sweep; of a shard its own records, the roll called where it
/// is not null.
std::unique_ptr<io::SequenceSource> open_swept(const std::string& path,
                                               const ReadingOptions& options,
                                               std::int64_t input,
                                               Roll* roll);

/// `width`: D of the model. Errors as of embed() for what cannot be read.
EmbedPlan plan_embedding(const EmbedOptions& options,
                         std::int64_t width,
                         const io::WindowOptions& windows,
                         const Observer& observer);

/// Error{usage} where an array of that many rows is past max_output.
void require_within_limit(const EmbedPlan& plan, const EmbedOptions& options, std::int64_t rows);
/// The same for all rows, and Error{io} where the file systems are too full.
void require_feasible(const EmbedPlan& plan, const EmbedOptions& options);

/// For people: sequence, output, memory and time; several lines.
std::string describe(const EmbedPlan& plan,
                     const EmbedOptions& options,
                     Engine& engine,
                     const model::Model& model,
                     const io::Tokenizer& tokenizer,
                     std::int64_t context);

}  // namespace mambase::pipelines
