#include "genomics_io/fasta_source.hpp"

#include "genomics_io/byte_reader.hpp"
#include "genomics_io/fasta_format.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace mambase::io {

namespace {

constexpr std::size_t kRawBytes = std::size_t{1} << 16;
constexpr std::size_t kSegmentBases = std::size_t{1} << 17;  // stays in the second-level cache

class FastaSource final : public SequenceSource {
  public:
    FastaSource(const std::string& path, const ReadOptions& options)
        : reader_(path, options), raw_(kRawBytes), bases_(kSegmentBases) {
        refill();
        require_fasta({raw_.data(), raw_size_}, path);
    }

    const std::string& path() const override { return reader_.path(); }

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
    /// False at the end of the file.
    bool refill() {
        raw_at_ = 0;
        raw_size_ = reader_.read(raw_);
        return raw_size_ != 0;
    }

    bool at_end() { return raw_at_ == raw_size_ && !refill(); }

    /// What is left of the current line in the buffer, its '\n' excluded.
    std::string_view rest_of_line() const {
        const char* const begin = raw_.data() + raw_at_;
        const std::size_t left = raw_size_ - raw_at_;
        const void* const newline = std::memchr(begin, '\n', left);
        return {begin, newline == nullptr
                           ? left
                           : static_cast<std::size_t>(static_cast<const char*>(newline) - begin)};
    }

    /// From '>' through the end of the line; false at the end of the file.
    bool read_header() {
        while (!at_end() && (raw_[raw_at_] == '\n' || raw_[raw_at_] == '\r')) {
            ++raw_at_;  // blank lines before the first record
        }
        if (at_end()) {
            return false;
        }
        ++raw_at_;  // the '>'
        ++record_;
        position_ = 0;
        name_.clear();
        while (!at_end()) {
            const std::string_view piece = rest_of_line();
            try {
                name_.append(piece);
            } catch (Error& error) {
                throw error.at(path()).record(record_, "");
            }
            raw_at_ += piece.size();
            if (raw_at_ < raw_size_) {
                ++raw_at_;  // the '\n'
                break;
            }
        }
        line_start_ = true;
        names_.add(name_.text(), record_, path());
        return true;
    }

    /// Fills bases_; true where the record ends there.
    bool read_bases() {
        n_bases_ = 0;
        for (;;) {
            if (at_end()) {
                return true;
            }
            const char c = raw_[raw_at_];
            if (c == '\n') {
                ++raw_at_;
                line_start_ = true;
                continue;
            }
            if (c == '\r' && ends_line()) {
                ++raw_at_;
                continue;
            }
            if (c == '>' && line_start_) {
                return true;
            }
            if (n_bases_ == bases_.size()) {
                return false;
            }
            copy_piece();
        }
    }

    /// Whether the '\r' at raw_at_ is followed by '\n' or by the end of the file.
    bool ends_line() {
        if (raw_at_ + 1 < raw_size_) {
            return raw_[raw_at_ + 1] == '\n';
        }
        raw_[0] = '\r';
        raw_size_ = 1 + reader_.read(std::span(raw_).subspan(1));
        raw_at_ = 0;
        return raw_size_ == 1 || raw_[1] == '\n';
    }

    /// A '\r' at the end of the piece is left for ends_line() to judge, unless it stands alone.
    void copy_piece() {
        std::string_view piece = rest_of_line();
        if (piece.size() > 1 && piece.back() == '\r') {
            piece.remove_suffix(1);
        }
        piece = piece.substr(0, bases_.size() - n_bases_);
        std::memcpy(bases_.data() + n_bases_, piece.data(), piece.size());
        n_bases_ += piece.size();
        raw_at_ += piece.size();
        line_start_ = false;
    }

    ByteReader reader_;
    std::vector<char> raw_;
    std::size_t raw_at_ = 0;
    std::size_t raw_size_ = 0;
    bool line_start_ = true;  // raw_[raw_at_] is the first byte of a line

    RecordNames names_;
    HeaderName name_;
    std::int64_t record_ = -1;
    std::int64_t position_ = 0;  // of the next base of the record
    bool in_record_ = false;
    std::vector<char> bases_;
    std::size_t n_bases_ = 0;
};

}  // namespace

std::unique_ptr<SequenceSource> open_fasta(const std::string& path, const ReadOptions& options) {
    return std::make_unique<FastaSource>(path, options);
}

}  // namespace mambase::io
