#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/text_sources.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace mambase::io {

namespace {

constexpr std::size_t kAny = std::size_t{1} << 16;

class FastqSource final : public TextSource {
  public:
    explicit FastqSource(LineReader lines) : TextSource(std::move(lines)) {}

    bool has_reads() const override { return true; }

  private:
    [[noreturn]] void fail(std::string what, std::int64_t line) const {
        Error error(ErrorCode::format, std::move(what));
        throw error.at(path()).record(record_, name_.text()).offset(line, "line");
    }

    /// From '@' through the end of the line; false at the end of the file.
    bool read_header() override {
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
        const std::int64_t line = lines_.line();
        begin_record();
        if (name_.text().empty()) {
            fail("the header line has no name after '@'", line);
        }
        return true;
    }

    /// True where the record ends there, its quality seen.
    bool read_bases() override {
        for (;;) {
            if (lines_.skip_line_end()) {
                continue;
            }
            if (lines_.at_end()) {
                fail("the file ends within this record (truncated?)", lines_.line());
            }
            const bool start = lines_.at_line_start();
            if (start && lines_.peek() == '+') {
                read_quality(length());
                return true;
            }
            if (start && lines_.peek() == '@') {
                fail("this record has no line with '+' and no quality", lines_.line());
            }
            if (is_full()) {
                return false;
            }
            take_bases();
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

    HeaderName again_;  // after '+'
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
