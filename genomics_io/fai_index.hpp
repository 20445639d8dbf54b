// The index of a FASTA file as samtools faidx and bgzip write it (.fai, .gzi): parsed, built,
// found beside the file. Private to genomics_io.
#pragma once

#include "base/observer.hpp"
#include "genomics_io/byte_reader.hpp"
#include "genomics_io/indexed_path.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::io {

/// A line of a .fai. Offsets count inflated bytes.
struct FaiEntry {
    std::string name;
    std::int64_t length = 0;      // bases
    std::int64_t offset = 0;      // of the first base
    std::int64_t line_bases = 0;  // bases in a full line
    std::int64_t line_bytes = 0;  // the same with the line's end

    /// Offset of base `position`; the bases of [0, length) alone have one.
    std::int64_t offset_of(std::int64_t position) const {
        return offset + position / line_bases * line_bytes + position % line_bases;
    }
    /// One past the last base.
    std::int64_t end() const { return length == 0 ? offset : offset_of(length - 1) + 1; }
};

struct FastaIndex {
    std::vector<FaiEntry> entries;
    std::vector<BlockStart> blocks;  // bgzip only
};

/// Error{format} that names file and line.
std::vector<FaiEntry> parse_fai(std::string_view text, const std::string& path);
/// Error{format} that names the file.
std::vector<BlockStart> parse_gzi(std::string_view bytes, const std::string& path);

std::string format_fai(const std::vector<FaiEntry>& entries);

/// Reads the whole of a fresh reader. Error{unsupported} where the lines of a record differ.
std::vector<FaiEntry> build_fai(ByteReader& reader);

/// Loads or builds what a file needs, as IndexedFasta::open() says.
FastaIndex load_index(const IndexedPath& path,
                      Compression compression,
                      const ReadOptions& options,
                      const Observer& observer);

}  // namespace mambase::io
