// Where sequence comes from: records, piece by piece.
#pragma once

#include "genomics_io/coordinates.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mambase::io {

/// A piece of a record as read. The views are valid until the next call of next().
struct Segment {
    std::int64_t record = 0;  // 0-based index in the file
    std::string_view name;    // first word of the header line
    /// Strand coordinate of bases[0] (forward: position in the record; reverse: distance of its
    /// right edge from the record's end).
    std::int64_t start = 0;
    /// At most 1 MiB. A reverse source delivers the reverse complement, right end first (IUPAC
    /// codes complemented, case kept). Letters are not judged here; that is the tokenizer's part.
    std::span<const char> bases;
    /// First and last piece of what is read of this record; a record without bases is one empty
    /// segment with both.
    bool first = false;
    bool last = false;
    /// The record's length where it is a circle that is read round (circular.hpp): then a segment
    /// lies within one turn. 0: a line.
    std::int64_t circle = 0;
};

struct ReadOptions {
    /// Additional threads: with n > 0 of them bgzip, BAM and CRAM are decoded by n + 1 threads
    /// beside the one that reads, as by `bgzip -dc -@ n+1`. Other input is read by one thread.
    int threads = 0;
    bool ignore_eof = false;  // accept bgzip, BAM and CRAM without their end marker
    std::string reference{};  // FASTA that a CRAM was written against; may be empty
};

/// Alignments that are not a read of their own and are passed over.
struct Skipped {
    std::int64_t secondary = 0;      // flag 0x100
    std::int64_t supplementary = 0;  // flag 0x800 without 0x100
};

class SequenceSource {
  public:
    SequenceSource() = default;
    SequenceSource(const SequenceSource&) = delete;
    SequenceSource& operator=(const SequenceSource&) = delete;
    virtual ~SequenceSource() = default;

    /// The next segment, in order; false after the last. Throws Error that names file and place;
    /// nothing may be asked of the source after that.
    virtual bool next(Segment& segment) = 0;
    /// For messages; "-" is standard input.
    virtual const std::string& path() const = 0;
    /// Whether the records are reads: their names may come again.
    virtual bool has_reads() const { return false; }
    /// So far.
    virtual Skipped skipped() const { return {}; }
};

}  // namespace mambase::io
