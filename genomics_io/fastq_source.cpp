#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/text_sources.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace mambase::io {

namespace {

constexpr std::size_t kAny = std::size_t{1} << 16;

class FastqSource final : public SequenceSource {
  public:
    explicit FastqSource(LineReader lines) : lines_(std::move(lines)), bases_(kSegmentBases) {}

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
    [[noreturn]] void fail(std::string what, std::int64_t line) const {
        Error error(ErrorCode::format, std::move(what));
        throw error.at(path()).record(record_, name_.text()).offset(line, "line");
    }

    /// From '@' through the end of the line; false at the end of the file.
    bool read_header() {
        while (lines_.skip_line_end()) {  // blank lines between records
        }
        if (lines_.at_end()) {
            return false;
        }
        if (lines_.peek() != '@') {
            std::string what =
                record_ < 0 ? "a record of FASTQ begins with '@'"
                            : "after this record a line with '@' is expected; its quality may be "
                              "longer than its sequence";
            if (lines_.peek() == '>') {
                what = "a record of FASTA in a file of FASTQ";
            }
            fail(std::move(what), lines_.line());
        }
        lines_.skip();
        ++record_;
        position_ = 0;
        const std::int64_t line = lines_.line();
        read_name(lines_, record_, name_);
        if (name_.text().empty()) {
            fail("the header line has no name after '@'", line);
        }
        return true;
    }

    /// Fills bases_; true where the record ends there, its quality seen.
    bool read_bases() {
        n_bases_ = 0;
        for (;;) {
            if (lines_.skip_line_end()) {
                continue;
            }
            if (lines_.at_end()) {
                fail("the file ends within this record (truncated?)", lines_.line());
            }
            const bool start = lines_.at_line_start();
            if (start && lines_.peek() == '+') {
                read_quality(position_ + static_cast<std::int64_t>(n_bases_));
                return true;
            }
            if (start && lines_.peek() == '@') {
                fail("this record has no line with '+' and no quality", lines_.line());
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

    /// The line with '+' and as many lines of quality as `length` bases need.
    void read_quality(std::int64_t length) {
        const std::int64_t plus = lines_.line();
        lines_.skip();
        read_name(lines_, record_, again_);
        if (!again_.text().empty() && again_.text() != name_.text()) {
            fail(concat("the line with '+' names another record, '", again_.text(), "'"), plus);
        }
        std::int64_t qualities = 0;
        std::string_view piece;
        while (qualities < length) {
            if (lines_.at_end()) {
                fail(concat("the quality is shorter than the sequence: ", qualities, " for ",
                            length, " bases (truncated?)"),
                     lines_.line());
            }
            const std::int64_t line = lines_.line();
            while (lines_.take(piece, kAny)) {
                check_quality(piece, line);
                qualities += static_cast<std::int64_t>(piece.size());
            }
            if (qualities > length) {
                fail(concat("the quality is longer than the sequence: ", qualities, " for ", length,
                            " bases"),
                     line);
            }
        }
    }

    void check_quality(std::string_view piece, std::int64_t line) const {
        const bool good =
            std::all_of(piece.begin(), piece.end(), [](char c) { return c >= '!' && c <= '~'; });
        if (!good) {
            fail("a quality that is no printable character", line);
        }
    }

    LineReader lines_;
    HeaderName name_;
    HeaderName again_;  // after '+'
    std::int64_t record_ = -1;
    std::int64_t position_ = 0;  // of the next base of the record
    bool in_record_ = false;
    std::vector<char> bases_;
    std::size_t n_bases_ = 0;
};

}  // namespace

std::unique_ptr<SequenceSource> read_fastq(LineReader lines) {
    return std::make_unique<FastqSource>(std::move(lines));
}

void read_name(LineReader& lines, std::int64_t record, HeaderName& name) {
    name.clear();
    std::string_view piece;
    while (lines.take(piece, kAny)) {
        try {
            name.append(piece);
        } catch (Error& error) {
            throw error.at(lines.path()).record(record, "");
        }
    }
}

}  // namespace mambase::io
