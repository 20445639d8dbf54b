// Which parts of its inputs a run over bases reads, in order; of a shard, what is its own.
#pragma once

#include "base/observer.hpp"
#include "genomics_io/circular.hpp"
#include "genomics_io/coordinates.hpp"
#include "genomics_io/indexed_fasta.hpp"
#include "genomics_io/source.hpp"
#include "genomics_io/window.hpp"
#include "pipelines/embedding_rows.hpp"
#include "pipelines/pooling.hpp"
#include "pipelines/reading.hpp"
#include "pipelines/shard.hpp"
#include "pipelines/survey.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// How one input is read: regions and the reverse strand by random access where the file allows it;
/// else in one sweep, its records met on the way, the reverse strand out of a spool.
struct SpanInput {
    std::string path;
    std::optional<io::IndexedFasta> fasta;
    std::vector<RowSpan> spans;  // with `fasta`: all; their rows are not counted yet
};

struct SpanPlan {
    std::vector<SpanInput> inputs;
    std::optional<Shard> shard;
    ShardCut cut = ShardCut::record;
    std::vector<Roll> rolls;  // of a shard, one an input; by a sweep once it is read
    io::Circles circles;      // has met what is indexed
};

/// What a run wants of the parts.
struct SpanWishes {
    Pooling pool;               // with bins they are widened to whole ones
    bool joined = false;        // regions sorted by contig and position, each base once
    bool random_access = true;  // also where neither regions nor a shard's cut need it
};

/// Errors as of open_indexable() and resolve_regions(); Error{not_found} where all inputs are
/// indexed and a record that should be circular is in none.
SpanPlan plan_spans(const ReadingOptions& options,
                    const SpanWishes& wishes,
                    std::int64_t context,
                    const Observer& observer);

/// [first, last) spans, one after the other, with `most` rows together or one span alone.
std::vector<io::Interval> groups_of(const std::vector<RowSpan>& spans,
                                    const Pooling& pool,
                                    std::int64_t most);

/// Bases that the model reads, on one strand, for the spans of an input.
std::int64_t bases_computed(const SpanInput& input,
                            io::Circles& circles,
                            const io::WindowOptions& windows);

/// Opens an input that is read in one sweep; of a shard its own records, the roll called where it
/// is not null.
std::unique_ptr<io::SequenceSource> open_swept(const std::string& path,
                                               const ReadingOptions& options,
                                               std::int64_t input,
                                               Roll* roll);

/// What such an input holds, by a reading of its own; empty where it can be read once only.
std::optional<SequenceCount> count_swept(const std::string& path,
                                         const ReadingOptions& options,
                                         std::int64_t input);

}  // namespace mambase::pipelines
