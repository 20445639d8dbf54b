// Losses summed by block: what evaluate's table is made from, and what its shards hold.
#pragma once

#include "base/file.hpp"
#include "genomics_io/region.hpp"
#include "pipelines/evaluate.hpp"
#include "pipelines/lanes.hpp"
#include "pipelines/tally.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// What the table of one run has: the same for each of its shards.
struct EvaluateLines {
    std::vector<std::int64_t> contexts;  // at least one
    bool compares = false;               // contexts with each other: more columns
    EvaluateOptions::By by = EvaluateOptions::By::contig;
    std::vector<std::string> regions;  // by region: names, in the order asked for
    std::vector<int> orders;           // of Markov models
};

/// A record, a region, or the share of one that a shard has.
struct EvaluatePart {
    std::int64_t input = 0;   // index of its file
    std::int64_t number = 0;  // of the record, or region, in its file; parts come in this order
    std::int64_t contig = 0;  // index in its file
    std::string name;         // of the contig
};

/// Which line of the table a sum is of.
struct SumLine {
    enum class Of : std::int64_t { contig, region, position, markov };
    Of of = Of::contig;      // contig: of all scored bases of the part
    std::int64_t index = 0;  // region: in the order asked for; position: distances from 2^index on;
                             // markov: which order
    friend bool operator==(const SumLine&, const SumLine&) = default;
};

/// Takes the sums of a run, in order.
class SumSink {
  public:
    SumSink() = default;
    SumSink(const SumSink&) = delete;
    SumSink& operator=(const SumSink&) = delete;
    virtual ~SumSink() = default;

    /// What follows is of this part. A part in two shards comes twice, its sums are in order.
    virtual void part(const EvaluatePart& part) = 0;
    /// One block's share of a line, some bases, at each context.
    virtual void block(SumLine line, std::span<const CaseTally> at_contexts) = 0;
};

/// A region that has a line of its own.
struct LineRegion {
    io::Region region;
    std::int64_t index = 0;  // in the order asked for
};

/// Sums losses by position within a block of the grid and a part; a block's sums are handed on when
/// it is over. Parts are numbered from 0 in the order of reading, and the number is the tag of a
/// piece.
class BlockSums {
  public:
    struct Sinks {
        std::function<void(const EvaluatePart&)> part;
        std::function<void(SumLine, const CaseTally&)> block;
        /// Sums of the Markov models over the same block, one an order; may be empty.
        std::function<std::vector<CaseTally>()> markov;
    };

    /// `regions`: sorted as io::Region by contig and begin; for By::region.
    BlockSums(std::int64_t grid,
              EvaluateOptions::By by,
              const std::vector<LineRegion>& regions,
              Sinks sinks);

    /// Names the next part, before its losses come.
    void open(EvaluatePart part) { open_.push_back(std::move(part)); }
    /// Number of the part that was named last, −1 before the first.
    std::int64_t latest() const { return current_ + std::ssize(open_); }

    /// In the order of positions, parts one after the other.
    void take(const LossRows& rows);
    void finish();

  private:
    struct Inside {
        LineRegion of;
        CaseTally tally;
    };

    void enter(std::int64_t part);
    void end_block();
    void move_regions(std::int64_t position);

    std::int64_t grid_;
    EvaluateOptions::By by_;
    const std::vector<LineRegion>& regions_;
    Sinks sinks_;

    std::deque<EvaluatePart> open_;  // those after the current one
    EvaluatePart part_;              // the current one
    std::int64_t current_ = -1;
    std::int64_t block_ = -1;
    CaseTally all_;
    std::vector<CaseTally> positions_;  // by the logarithm of the distance
    std::size_t next_region_ = 0;
    std::int64_t regions_change_ = 0;  // position of the next begin or end
    std::vector<Inside> inside_;
    std::vector<Inside> left_;  // regions that ended in this block
};

/// Sums of one pass that wait, in an unnamed file under TMPDIR, for those of the next.
class SumSpool {
  public:
    SumSpool() : file_(File::temporary()) {}
    void add(SumLine line, const CaseTally& tally);
    /// In the order of add(), after the last of them. `line` has to be the one that was added.
    CaseTally next(SumLine line);

  private:
    struct Entry {
        SumLine line;
        CaseTally tally;
    };
    static constexpr std::size_t kBuffered = 4096;

    void flush();

    File file_;
    std::vector<Entry> buffer_;
    std::size_t at_ = 0;        // of the next entry in the buffer, while reading
    std::int64_t entries_ = 0;  // in the file
    std::int64_t read_ = 0;     // of them
    bool reading_ = false;
};

}  // namespace mambase::pipelines
