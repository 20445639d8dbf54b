// The bytes of a file, inflated, through HTSlib's BGZF. Private to genomics_io.
#pragma once

#include "base/error.hpp"
#include "genomics_io/compression.hpp"
#include "genomics_io/hts_handles.hpp"
#include "genomics_io/source.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mambase::io {

/// Where the blocks of a bgzip file begin, the first one (0, 0) included; the content of a .gzi.
struct BlockStart {
    std::int64_t compressed = 0;
    std::int64_t inflated = 0;
};

class ByteReader {
  public:
    /// Opens and looks at the first bytes; `path` "-" is standard input. Errors as open_fasta
    /// describes for files and compression. With `note_blocks`, block_index() works after the last
    /// byte was read.
    ByteReader(std::string path, const ReadOptions& options, bool note_blocks = false);
    /// Of a file that is open, at its start.
    ByteReader(std::string path,
               HFileHandle file,
               const ReadOptions& options,
               bool note_blocks = false);

    const std::string& path() const { return path_; }
    Compression compression() const { return compression_; }

    /// Fills `out` from the current position; fewer bytes only at the end of the file, where 0 is
    /// returned from then on.
    std::size_t read(std::span<char> out);
    /// Goes to an offset in the inflated bytes; `blocks` are needed for bgzip alone.
    void seek(std::int64_t offset, std::span<const BlockStart> blocks);
    /// Whether a bgzip file ends with its end marker; true for other files.
    bool has_end_marker();
    /// The .gzi of what was read.
    std::string block_index();

  private:
    [[noreturn]] void fail();
    Error located(Error error) const;

    std::string path_;
    bool ignore_eof_;
    Compression compression_ = Compression::none;
    BgzfHandle handle_;
    std::int64_t position_ = 0;  // of the next byte, inflated
};

/// All of it, for texts that are small.
std::string read_inflated(const std::string& path);

}  // namespace mambase::io
