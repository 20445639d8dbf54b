#include "pipelines/evaluate_sums.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

namespace mambase::pipelines {

namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kPositionClasses = 63;

}  // namespace

BlockSums::BlockSums(std::int64_t grid,
                     EvaluateOptions::By by,
                     const std::vector<LineRegion>& regions,
                     Sinks sinks)
    : grid_(grid), by_(by), regions_(regions), sinks_(std::move(sinks)) {
    if (by == EvaluateOptions::By::position) {
        positions_.resize(kPositionClasses);
    }
}

void BlockSums::take(const LossRows& rows) {
    enter(rows.source.tag);
    for (std::int64_t i = 0; i < rows.count; ++i) {
        if (rows.scored[i] == 0.0F) {
            continue;
        }
        const std::int64_t position = rows.begin + i;
        if (block_of(position, grid_) != block_) {
            end_block();
            block_ = block_of(position, grid_);
        }
        const std::uint8_t code = rows.codes[i];
        const bool lower = (code & io::kSoftMask) != 0;
        const bool correct = rows.best[i] == (code & ~io::kSoftMask);
        all_.add(lower, rows.nats[i], correct);
        if (by_ == EvaluateOptions::By::region) {
            move_regions(position);
            for (Inside& inside : inside_) {
                inside.tally.add(lower, rows.nats[i], correct);
            }
        } else if (by_ == EvaluateOptions::By::position) {
            const auto distance =
                static_cast<std::uint64_t>(position - rows.source.piece.window_begin);
            positions_[static_cast<std::size_t>(std::bit_width(distance) - 1)].add(
                lower, rows.nats[i], correct);
        }
    }
}

void BlockSums::finish() {
    enter(latest());
    end_block();
}

void BlockSums::enter(std::int64_t part) {
    while (current_ < part) {
        end_block();
        block_ = -1;
        part_ = std::move(open_.front());
        open_.pop_front();
        ++current_;
        regions_change_ = 0;
        sinks_.part(part_);
    }
}

void BlockSums::end_block() {
    if (all_.all().bases == 0) {
        return;
    }
    sinks_.block({SumLine::Of::contig, 0}, all_);
    all_ = {};
    left_.insert(left_.end(), inside_.begin(), inside_.end());
    for (const Inside& region : left_) {
        if (region.tally.all().bases > 0) {
            sinks_.block({SumLine::Of::region, region.of.index}, region.tally);
        }
    }
    left_.clear();
    for (Inside& region : inside_) {
        region.tally = {};
    }
    for (std::size_t i = 0; i < positions_.size(); ++i) {
        if (positions_[i].all().bases > 0) {
            sinks_.block({SumLine::Of::position, static_cast<std::int64_t>(i)}, positions_[i]);
            positions_[i] = {};
        }
    }
    if (sinks_.markov) {
        const std::vector<CaseTally> orders = sinks_.markov();
        for (std::size_t i = 0; i < orders.size(); ++i) {
            sinks_.block({SumLine::Of::markov, static_cast<std::int64_t>(i)}, orders[i]);
        }
    }
}

/// Brings inside_ to the regions that have this position.
void BlockSums::move_regions(std::int64_t position) {
    if (position < regions_change_) {
        return;
    }
    const auto is_over = [&](const Inside& inside) {
        const io::Region& region = inside.of.region;
        return region.contig != part_.contig || region.end <= position;
    };
    const auto over = std::stable_partition(inside_.begin(), inside_.end(), std::not_fn(is_over));
    left_.insert(left_.end(), over, inside_.end());
    inside_.erase(over, inside_.end());
    regions_change_ = kNever;
    for (; next_region_ < regions_.size(); ++next_region_) {
        const io::Region& region = regions_[next_region_].region;
        if (region.contig > part_.contig ||
            (region.contig == part_.contig && region.begin > position)) {
            break;
        }
        if (region.contig == part_.contig && region.end > position) {
            inside_.push_back({regions_[next_region_], {}});
        }
    }
    if (next_region_ < regions_.size() && regions_[next_region_].region.contig == part_.contig) {
        regions_change_ = regions_[next_region_].region.begin;
    }
    for (const Inside& inside : inside_) {
        regions_change_ = std::min(regions_change_, inside.of.region.end);
    }
}

void SumSpool::add(SumLine line, const CaseTally& tally) {
    buffer_.push_back({line, tally});
    if (buffer_.size() == kBuffered) {
        flush();
    }
}

void SumSpool::flush() {
    const auto bytes = std::as_bytes(std::span<const Entry>(buffer_));
    file_.write_at(bytes, entries_ * static_cast<std::int64_t>(sizeof(Entry)));
    entries_ += std::ssize(buffer_);
    buffer_.clear();
}

CaseTally SumSpool::next(SumLine line) {
    if (!reading_) {
        flush();
        reading_ = true;
    }
    if (at_ == buffer_.size()) {
        const auto left = static_cast<std::size_t>(entries_ - read_);
        MAMBASE_ASSERT(left > 0);
        buffer_.resize(std::min(left, kBuffered));
        file_.read_at(std::as_writable_bytes(std::span<Entry>(buffer_)),
                      read_ * static_cast<std::int64_t>(sizeof(Entry)));
        read_ += std::ssize(buffer_);
        at_ = 0;
    }
    const Entry& entry = buffer_[at_++];
    MAMBASE_ASSERT(entry.line == line);
    return entry.tally;
}

}  // namespace mambase::pipelines
