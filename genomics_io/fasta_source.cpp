#include "genomics_io/fasta_source.hpp"

#include "genomics_io/fasta_format.hpp"
#include "genomics_io/text_sources.hpp"

#include <utility>

namespace mambase::io {

namespace {

class FastaSource final : public TextSource {
  public:
    explicit FastaSource(LineReader lines) : TextSource(std::move(lines)) {
        require_fasta(lines_.buffered(), path());
    }

  private:
    /// From '>' through the end of the line; false at the end of the file.
    bool read_header() override {
        while (lines_.skip_line_end()) {  // blank lines before the first record
        }
        if (lines_.at_end()) {
            return false;
        }
        begin_record();
        names_.add(name_.text(), record_, path());
        return true;
    }

    /// True where the record ends there.
    bool read_bases() override {
        for (;;) {
            if (lines_.skip_line_end()) {
                continue;
            }
            if (lines_.at_end() || (lines_.at_line_start() && lines_.peek() == '>')) {
                return true;
            }
            if (is_full()) {
                return false;
            }
            take_bases();
        }
    }

    RecordNames names_;
};

}  // namespace

std::unique_ptr<SequenceSource> read_fasta(LineReader lines) {
    return std::make_unique<FastaSource>(std::move(lines));
}

std::unique_ptr<SequenceSource> open_fasta(const std::string& path, const ReadOptions& options) {
    return read_fasta(LineReader(ByteReader(path, options)));
}

}  // namespace mambase::io
