// What is common to all readers of FASTA text. Private to genomics_io.
#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace mambase::io {

/// Throws unless the text after leading blank lines begins with '>': Error{unsupported} for formats
/// that it names (FASTQ, SAM, BAM, …), else Error{format}. `head` is the start of the inflated file
/// (4 KiB are plenty).
void require_fasta(std::string_view head, const std::string& path);

/// The names of the records so far.
class RecordNames {
  public:
    /// Error{format} for an empty name and for one that is there already.
    void add(const std::string& name, std::int64_t record, const std::string& path);

  private:
    std::unordered_map<std::string, std::int64_t> records_;
};

/// Collects the name of a record: the first word of its header line, which may come in pieces.
class HeaderName {
  public:
    void clear();
    /// A piece of the line after '>', without its end.
    void append(std::string_view piece);
    const std::string& text() const { return text_; }

  private:
    std::string text_;
    bool whole_ = false;
};

}  // namespace mambase::io
