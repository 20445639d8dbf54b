// FASTA and FASTQ from text that is open already. Private to genomics_io.
#pragma once

#include "genomics_io/fasta_format.hpp"
#include "genomics_io/line_reader.hpp"
#include "genomics_io/source.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mambase::io {

inline constexpr std::size_t kSegmentBases = std::size_t{1}
                                             << 17;  // stays in the second-level cache

/// `lines` are at the start of the file. As open_fasta (fasta_source.hpp) and open_sequences
/// (open.hpp) say.
std::unique_ptr<SequenceSource> read_fasta(LineReader lines);
std::unique_ptr<SequenceSource> read_fastq(LineReader lines);

/// The rest of a header line into `name`, which begins anew.
void read_name(LineReader& lines, std::int64_t record, HeaderName& name);

/// What FASTA and FASTQ share: records that begin with a header line, given in segments.
class TextSource : public SequenceSource {
  public:
    const std::string& path() const override { return lines_.path(); }

    bool next(Segment& segment) override {
        const bool first = !in_record_;
        if (first && !read_header()) {
            return false;
        }
        n_bases_ = 0;
        const bool last = read_bases();
        segment.record = record_;
        segment.name = name_.text();
        segment.start = position_;
        segment.bases = {bases_.data(), n_bases_};
        segment.first = first;
        segment.last = last;
        position_ += static_cast<std::int64_t>(n_bases_);
        in_record_ = !last;
        return true;
    }

  protected:
    explicit TextSource(LineReader lines) : lines_(std::move(lines)), bases_(kSegmentBases) {}

    /// Through the end of a record's header line; false at the end of the file.
    virtual bool read_header() = 0;
    /// Takes bases until the record or the segment is full; true where the record ends there.
    virtual bool read_bases() = 0;

    /// After the header's first character: a new record, and its name.
    void begin_record() {
        lines_.skip();
        ++record_;
        position_ = 0;
        read_name(lines_, record_, name_);
    }
    bool is_full() const { return n_bases_ == bases_.size(); }
    /// What is left of the line, as far as the segment has room.
    void take_bases() {
        std::string_view piece;
        if (lines_.take(piece, bases_.size() - n_bases_)) {
            std::memcpy(bases_.data() + n_bases_, piece.data(), piece.size());
            n_bases_ += piece.size();
        }
    }
    /// Bases of the record so far.
    std::int64_t length() const { return position_ + static_cast<std::int64_t>(n_bases_); }

    LineReader lines_;
    HeaderName name_;
    std::int64_t record_ = -1;

  private:
    std::int64_t position_ = 0;  // of the segment's first base
    bool in_record_ = false;
    std::vector<char> bases_;
    std::size_t n_bases_ = 0;
};

}  // namespace mambase::io
