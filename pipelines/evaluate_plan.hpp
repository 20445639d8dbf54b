// What an evaluation reads, found before anything is computed.
#pragma once

#include "genomics_io/circular.hpp"
#include "genomics_io/coordinates.hpp"
#include "genomics_io/indexed_fasta.hpp"
#include "pipelines/evaluate.hpp"
#include "pipelines/evaluate_sums.hpp"
#include "pipelines/shard.hpp"
#include "pipelines/window_feed.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// Whole files in a sweep each, or parts of contigs by random access; of a shard, what is its own.
struct EvaluateWork {
    struct Part {
        EvaluatePart of;
        io::Interval bases;
    };
    std::vector<std::string> inputs;
    std::optional<Shard> shard;
    ShardCut cut = ShardCut::record;
    std::vector<Roll> rolls;              // of a shard, one an input; by a sweep once it is read
    std::vector<io::IndexedFasta> fasta;  // one an input, for parts; empty: in a sweep
    std::vector<Part> parts;
    std::vector<LineRegion> regions;        // that have a line, sorted as BlockSums wants them
    std::vector<std::string> region_names;  // in the order asked for
    io::Circles circles;

    bool by_parts() const { return !fasta.empty(); }
    /// A file, or a part.
    std::int64_t readings() const { return by_parts() ? std::ssize(parts) : std::ssize(inputs); }
    Reading read(std::int64_t reading,
                 const io::ReadOptions& options,
                 const io::WindowOptions& windows);
    /// Once all is read: Error{not_found} where a record that should be circular did not come. Not
    /// of a shard of a sweep, which has records of its own alone.
    void require_circles() const;
};

/// `contexts`: that are read with. Errors as of evaluate() for what cannot be read.
EvaluateWork plan_evaluation(const EvaluateOptions& options,
                             const std::vector<std::int64_t>& contexts,
                             const Observer& observer);

/// Bases of a block of sums: the longest context but whole.
std::int64_t sum_grid(const std::vector<std::int64_t>& contexts);

}  // namespace mambase::pipelines
