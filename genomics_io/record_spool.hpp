// Records that cannot be read backwards where they come from, kept on disk for reading either way.
#pragma once

#include "base/file.hpp"
#include "genomics_io/coordinates.hpp"
#include "genomics_io/source.hpp"
#include "genomics_io/tokenizer.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace mambase::io {

/// Holds some whole records at a time, a byte a base, in an unnamed file under TMPDIR.
class RecordSpool {
  public:
    struct Record {
        std::string name;
        std::int64_t index = 0;  // in its file
        std::int64_t length = 0;
        std::int64_t offset = 0;  // of its first base in the spool
    };

    RecordSpool() : file_(File::temporary()) {}

    /// Replaces what it holds by the next records of the source, until there are `most_records`, or
    /// `most_bases` or more. False, and nothing is held, where the source has no more. Errors of
    /// the source, Error{format} for what is no nucleotide code, Error{io} of TMPDIR.
    bool fill(SequenceSource& source,
              const Tokenizer& tokenizer,
              std::int64_t most_records,
              std::int64_t most_bases);

    const std::vector<Record>& records() const { return records_; }
    /// All of them in order, each on that strand; Segment::record counts from 0 here. Valid until
    /// the next fill(), and no longer than this.
    std::unique_ptr<SequenceSource> read(Strand strand) const;

  private:
    void append(std::span<const char> bases);
    void flush();

    File file_;
    std::string path_;  // of the source
    std::vector<Record> records_;
    std::vector<char> pending_;
    std::int64_t written_ = 0;
    std::vector<std::uint8_t> codes_;
};

}  // namespace mambase::io
