// Lines of an inflated text, in pieces: a line may be as long as a chromosome. Private to
// genomics_io.
#pragma once

#include "genomics_io/byte_reader.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::io {

/// A line ends with LF or CR LF, the last one with the file, with or without them. Memory: 64 KiB.
class LineReader {
  public:
    /// Reads the first bytes, from the start of the file.
    explicit LineReader(ByteReader reader);

    const std::string& path() const { return reader_.path(); }
    /// What was read and not taken; after construction the start of the file.
    std::string_view buffered() const { return {raw_.data() + at_, size_ - at_}; }

    bool at_end() { return at_ == size_ && !refill(); }
    bool at_line_start() const { return line_start_; }
    /// 1-based, of the next byte.
    std::int64_t line() const { return line_; }

    /// The next byte, and passing over it; neither at the end of the file nor at that of a line.
    char peek() const { return raw_[at_]; }
    void skip();
    /// Passes over the end of a line, if that is what comes; true where it did.
    bool skip_line_end();
    /// A piece of the current line, of 1 to `most` bytes, without the line's end. False, and the
    /// line is left, where it has no more. Valid until the next call.
    bool take(std::string_view& piece, std::size_t most);

  private:
    bool refill();
    /// Whether the '\r' at at_ is followed by '\n' or by the end of the file.
    bool carriage_return_ends_line();

    ByteReader reader_;
    std::vector<char> raw_;
    std::size_t at_ = 0;
    std::size_t size_ = 0;
    std::int64_t line_ = 1;
    bool line_start_ = true;
};

}  // namespace mambase::io
