#include "genomics_io/circular.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/text_sources.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

namespace mambase::io {

namespace {

class RoundSource final : public SequenceSource {
  public:
    RoundSource(std::function<std::unique_ptr<SequenceSource>(Interval)> turn,
                std::int64_t length,
                Interval asked)
        : turn_(std::move(turn)), length_(length), asked_(asked), at_(asked.begin) {
        open();
    }

    const std::string& path() const override { return part_->path(); }

    bool next(Segment& segment) override {
        if (at_ == asked_.end) {
            return false;
        }
        if (!part_->next(segment)) {
            open();
            return next(segment);
        }
        segment.start = at_;
        segment.circle = length_;
        segment.first = at_ == asked_.begin;
        at_ += static_cast<std::int64_t>(segment.bases.size());
        segment.last = at_ == asked_.end;
        return true;
    }

  private:
    /// From at_ to the end of its turn.
    void open() {
        const std::int64_t turn = floor_div(at_, length_) * length_;
        part_ = turn_({at_ - turn, std::min(asked_.end - turn, length_)});
    }

    std::function<std::unique_ptr<SequenceSource>(Interval)> turn_;
    std::int64_t length_;
    Interval asked_;
    std::int64_t at_;
    std::unique_ptr<SequenceSource> part_;
};

/// A record in a file, a byte a base.
struct KeptRecord {
    std::string path;  // of the source
    std::int64_t index = 0;
    std::string name;
    std::int64_t length = 0;
    File file = File::temporary();
};

class KeptPart final : public SequenceSource {
  public:
    KeptPart(const KeptRecord& record, Interval part) : record_(record), left_(part) {
        bases_.resize(std::min(kSegmentBases, static_cast<std::size_t>(part.size())));
    }

    const std::string& path() const override { return record_.path; }

    bool next(Segment& segment) override {
        if (left_.size() == 0) {
            return false;
        }
        const std::size_t n = std::min(bases_.size(), static_cast<std::size_t>(left_.size()));
        const std::span<char> bases(bases_.data(), n);
        record_.file.read_at(std::as_writable_bytes(bases), left_.begin);
        segment.record = record_.index;
        segment.name = record_.name;
        segment.bases = bases;
        left_.begin += static_cast<std::int64_t>(n);
        return true;
    }

  private:
    const KeptRecord& record_;
    Interval left_;
    std::vector<char> bases_;
};

class CirclesSource final : public SequenceSource {
  public:
    CirclesSource(std::unique_ptr<SequenceSource> source,
                  Circles& circles,
                  const WindowOptions& windows)
        : source_(std::move(source)), circles_(circles), windows_(windows) {}

    const std::string& path() const override { return source_->path(); }
    Skipped skipped() const override { return source_->skipped(); }

    bool next(Segment& segment) override {
        if (round_ && round_->next(segment)) {
            return true;
        }
        round_.reset();
        segment.circle = 0;
        if (!source_->next(segment)) {
            return false;
        }
        const bool is_empty = segment.last && segment.bases.empty();
        if (!segment.first || !circles_.has(segment.name) || is_empty) {
            return true;
        }
        keep(segment);
        round_ = read_round(
            [this](Interval part) { return std::make_unique<KeptPart>(*kept_, part); },
            kept_->length, read_interval(0, kept_->length, kept_->length, windows_, true));
        return round_->next(segment);
    }

  private:
    /// The record that the segment begins.
    void keep(Segment& segment) {
        kept_.emplace();
        kept_->path = path();
        kept_->index = segment.record;
        kept_->name = segment.name;
        for (;;) {
            kept_->file.write_at(std::as_bytes(segment.bases), kept_->length);
            kept_->length += static_cast<std::int64_t>(segment.bases.size());
            if (segment.last) {
                return;
            }
            source_->next(segment);
        }
    }

    std::unique_ptr<SequenceSource> source_;
    Circles& circles_;
    WindowOptions windows_;
    std::optional<KeptRecord> kept_;
    std::unique_ptr<SequenceSource> round_;
};

}  // namespace

Circles::Circles(const std::vector<std::string>& names) {
    all_ = names.size() == 1 && names.front() == "all";
    for (std::size_t i = 0; !all_ && i < names.size(); ++i) {
        met_.emplace(names[i], false);
    }
}

bool Circles::has(std::string_view name) {
    const auto found = met_.find(name);
    if (found != met_.end()) {
        found->second = true;
    }
    return all_ || found != met_.end();
}

void Circles::require_met() const {
    std::string missing;
    for (const auto& [name, met] : met_) {
        missing += met ? "" : concat(missing.empty() ? "" : ", ", name);
    }
    MAMBASE_REQUIRE(missing.empty(), ErrorCode::not_found,
                    concat("no record is named ", missing, ", which should be circular"));
}

std::unique_ptr<SequenceSource> read_round(
    std::function<std::unique_ptr<SequenceSource>(Interval)> turn,
    std::int64_t length,
    Interval asked) {
    MAMBASE_ASSERT(length >= 1 && asked.size() >= 1);
    return std::make_unique<RoundSource>(std::move(turn), length, asked);
}

std::unique_ptr<SequenceSource> with_circles(std::unique_ptr<SequenceSource> source,
                                             Circles& circles,
                                             const WindowOptions& windows) {
    if (!circles.any()) {
        return source;
    }
    return std::make_unique<CirclesSource>(std::move(source), circles, windows);
}

}  // namespace mambase::io
