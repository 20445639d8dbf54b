#include "genomics_io/record_spool.hpp"

#include "genomics_io/alphabet.hpp"
#include "genomics_io/segment_encoder.hpp"
#include "genomics_io/text_sources.hpp"

#include <algorithm>
#include <span>

namespace mambase::io {

namespace {

constexpr std::size_t kMostPending = std::size_t{1} << 20;

class SpoolSource final : public SequenceSource {
  public:
    SpoolSource(const File& file,
                const std::string& path,
                const std::vector<RecordSpool::Record>& records,
                Strand strand)
        : file_(file), path_(path), records_(records), strand_(strand), bases_(kSegmentBases) {}

    const std::string& path() const override { return path_; }

    bool next(Segment& segment) override {
        if (record_ == records_.size()) {
            return false;
        }
        const RecordSpool::Record& record = records_[record_];
        const std::int64_t n =
            std::min(record.length - at_, static_cast<std::int64_t>(bases_.size()));
        const std::span<char> bases(bases_.data(), static_cast<std::size_t>(n));
        const std::int64_t from = strand_ == Strand::forward ? at_ : record.length - at_ - n;
        file_.read_at(std::as_writable_bytes(bases), record.offset + from);
        if (strand_ == Strand::reverse) {
            reverse_complement(bases);
        }
        segment.record = static_cast<std::int64_t>(record_);
        segment.name = record.name;
        segment.start = at_;
        segment.bases = bases;
        segment.first = at_ == 0;
        at_ += n;
        segment.last = at_ == record.length;
        if (segment.last) {
            ++record_;
            at_ = 0;
        }
        return true;
    }

  private:
    const File& file_;
    const std::string& path_;
    const std::vector<RecordSpool::Record>& records_;
    Strand strand_;
    std::size_t record_ = 0;
    std::int64_t at_ = 0;
    std::vector<char> bases_;
};

}  // namespace

bool RecordSpool::fill(SequenceSource& source,
                       const Tokenizer& tokenizer,
                       std::int64_t most_records,
                       std::int64_t most_bases) {
    path_ = source.path();
    records_.clear();
    pending_.clear();
    written_ = 0;
    std::int64_t bases = 0;
    Segment segment;
    RecordSummary unused;
    while (static_cast<std::int64_t>(records_.size()) < most_records && bases < most_bases) {
        do {
            if (!source.next(segment)) {
                flush();
                return !records_.empty();
            }
            if (segment.first) {
                records_.push_back({std::string(segment.name), segment.record, 0, bases});
            }
            codes_.resize(segment.bases.size());
            encode_segment(tokenizer, path_, segment, Strand::forward, 0, codes_.size(),
                           codes_.data(), unused);
            append(segment.bases);
            records_.back().length += static_cast<std::int64_t>(segment.bases.size());
            bases += static_cast<std::int64_t>(segment.bases.size());
        } while (!segment.last);
    }
    flush();
    return true;
}

void RecordSpool::append(std::span<const char> bases) {
    pending_.insert(pending_.end(), bases.begin(), bases.end());
    if (pending_.size() >= kMostPending) {
        flush();
    }
}

void RecordSpool::flush() {
    file_.write_at(std::as_bytes(std::span<const char>(pending_)), written_);
    written_ += static_cast<std::int64_t>(pending_.size());
    pending_.clear();
}

std::unique_ptr<SequenceSource> RecordSpool::read(Strand strand) const {
    return std::make_unique<SpoolSource>(file_, path_, records_, strand);
}

}  // namespace mambase::io
