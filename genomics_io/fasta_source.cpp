#include "genomics_io/fasta_source.hpp"

#include "genomics_io/fasta_format.hpp"
#include "genomics_io/text_sources.hpp"

#include <cstring>
#include <utility>
#include <vector>

namespace mambase::io {

namespace {

class FastaSource final : public SequenceSource {
  public:
    explicit FastaSource(LineReader lines) : lines_(std::move(lines)), bases_(kSegmentBases) {
        require_fasta(lines_.buffered(), path());
    }

    const std::string& path() const override { return lines_.path(); }

    bool next(Segment& segment) override {
        const bool first = !in_record_;
        if (first && !read_header()) {
            return false;
        }
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

  private:
    /// From '>' through the end of the line; false at the end of the file.
    bool read_header() {
        while (lines_.skip_line_end()) {  // blank lines before the first record
        }
        if (lines_.at_end()) {
            return false;
        }
        lines_.skip();  // the '>'
        ++record_;
        position_ = 0;
        read_name(lines_, record_, name_);
        names_.add(name_.text(), record_, path());
        return true;
    }

    /// Fills bases_; true where the record ends there.
    bool read_bases() {
        n_bases_ = 0;
        for (;;) {
            if (lines_.skip_line_end()) {
                continue;
            }
            if (lines_.at_end() || (lines_.at_line_start() && lines_.peek() == '>')) {
                return true;
            }
            if (n_bases_ == bases_.size()) {
                return false;
            }
            std::string_view piece;
            if (lines_.take(piece, bases_.size() - n_bases_)) {
                std::memcpy(bases_.data() + n_bases_, piece.data(), piece.size());
                n_bases_ += piece.size();
            }
        }
    }

    LineReader lines_;
    RecordNames names_;
    HeaderName name_;
    std::int64_t record_ = -1;
    std::int64_t position_ = 0;  // of the next base of the record
    bool in_record_ = false;
    std::vector<char> bases_;
    std::size_t n_bases_ = 0;
};

}  // namespace

std::unique_ptr<SequenceSource> read_fasta(LineReader lines) {
    return std::make_unique<FastaSource>(std::move(lines));
}

std::unique_ptr<SequenceSource> open_fasta(const std::string& path, const ReadOptions& options) {
    return read_fasta(LineReader(ByteReader(path, options)));
}

}  // namespace mambase::io
