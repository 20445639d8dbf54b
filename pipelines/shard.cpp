#include "pipelines/shard.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <utility>

namespace mambase::pipelines {

namespace {

/// Passes over the records of others.
class OwnRecords : public io::SequenceSource {
  public:
    OwnRecords(std::unique_ptr<io::SequenceSource> source,
               const Shard& shard,
               std::int64_t input,
               Roll* roll)
        : source_(std::move(source)), shard_(shard), input_(input), roll_(roll) {}

    bool next(io::Segment& segment) override {
        while (source_->next(segment)) {
            length_ = (segment.first ? 0 : length_) + std::ssize(segment.bases);
            if (segment.last && roll_ != nullptr) {
                roll_->add(segment.name, {0, length_}, length_);
            }
            if (shard_.owns(input_, segment.record)) {
                return true;
            }
        }
        return false;
    }
    const std::string& path() const override { return source_->path(); }
    io::Skipped skipped() const override { return source_->skipped(); }

  private:
    std::unique_ptr<io::SequenceSource> source_;
    Shard shard_;
    std::int64_t input_;
    Roll* roll_;
    std::int64_t length_ = 0;  // of the record so far
};

std::int64_t blocks(const io::Interval& interval, std::int64_t grid) {
    return interval.size() == 0 ? 1 : (interval.end - 1) / grid - interval.begin / grid + 1;
}

/// The first unit of a shard: the first `units mod count` shards have one more.
std::int64_t first_unit(const Shard& shard, std::int64_t index, std::int64_t units) {
    return units / shard.count * index + std::min(index, units % shard.count);
}

}  // namespace

std::vector<std::optional<io::Interval>> share_on_grid(const Shard& shard,
                                                       std::span<const io::Interval> intervals,
                                                       std::int64_t grid) {
    std::int64_t units = 0;
    for (const io::Interval& interval : intervals) {
        units += blocks(interval, grid);
    }
    const io::Interval own{first_unit(shard, shard.index, units),
                           first_unit(shard, shard.index + 1, units)};
    std::vector<std::optional<io::Interval>> out;
    out.reserve(intervals.size());
    std::int64_t first = 0;  // unit of the interval
    for (const io::Interval& interval : intervals) {
        const std::int64_t end = first + blocks(interval, grid);
        const io::Interval mine{std::max(own.begin, first), std::min(own.end, end)};
        if (mine.begin < mine.end) {
            const std::int64_t block = interval.begin / grid - first;  // of unit 0
            out.push_back(
                io::Interval{mine.begin == first ? interval.begin : (block + mine.begin) * grid,
                             mine.end == end ? interval.end : (block + mine.end) * grid});
        } else {
            out.emplace_back();
        }
        first = end;
    }
    return out;
}

void Roll::add(std::string_view name, io::Interval bases, std::int64_t length) {
    sha_.update(concat(name, '\t', bases.begin, '\t', bases.end, '\t', length, '\n'));
}

std::string digest_of(std::span<const Roll> inputs) {
    Sha256 sha;
    for (const Roll& input : inputs) {
        sha.update(input.digest());
    }
    return sha.hex();
}

std::unique_ptr<io::SequenceSource> own_records(std::unique_ptr<io::SequenceSource> source,
                                                const Shard& shard,
                                                std::int64_t input,
                                                Roll* roll) {
    return std::make_unique<OwnRecords>(std::move(source), shard, input, roll);
}

}  // namespace mambase::pipelines
