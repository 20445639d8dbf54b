// One of n runs that share the work of one: which part is its own. How n of them are put together
// again: shard_files.hpp.
//
// By grid: the intervals that are read are cut where a block of the context grid begins, and each
// shard has a stretch of blocks. By record, where records are met on the way (reads, pipes, plain
// gzip) or are read from their start (context "whole"): record k of input j, or region k, is of
// shard (j + k) mod n. Either way the parts of all shards, sorted by input and number and then by
// shard, are the parts of the whole run in its order.
#pragma once

#include "base/sha256.hpp"
#include "genomics_io/coordinates.hpp"
#include "genomics_io/source.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::pipelines {

struct Shard {
    std::int64_t index = 0;  // 0 … count − 1
    std::int64_t count = 1;

    /// By record.
    bool owns(std::int64_t input, std::int64_t number) const {
        return (input + number) % count == index;
    }
};

inline constexpr std::int64_t kMostShards = 100'000;

enum class ShardCut : std::uint8_t { grid, record };

/// By grid: what a shard has of each of these intervals; nothing of most. An interval counts as
/// many units as it has blocks of the grid (> 0), one where it is empty; shards differ by one unit
/// at most.
std::vector<std::optional<io::Interval>> share_on_grid(const Shard& shard,
                                                       std::span<const io::Interval> intervals,
                                                       std::int64_t grid);

/// What is read from one input, whole, as a digest: equal for all shards of a run.
class Roll {
  public:
    /// Next record or region, `bases` of it out of `length` of its record.
    void add(std::string_view name, io::Interval bases, std::int64_t length);
    std::string digest() const { return Sha256(sha_).hex(); }

  private:
    Sha256 sha_;
};

std::string digest_of(std::span<const Roll> inputs);

/// By record: the records of input `input` that are the shard's own, with their indices as they
/// are. Every record is called up on the roll (may be null), once the source is read through.
std::unique_ptr<io::SequenceSource> own_records(std::unique_ptr<io::SequenceSource> source,
                                                const Shard& shard,
                                                std::int64_t input,
                                                Roll* roll);

}  // namespace mambase::pipelines
