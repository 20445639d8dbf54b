// The codes of whole files in memory, one byte a base: what training samples from.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/region.hpp"
#include "genomics_io/source.hpp"
#include "genomics_io/tokenizer.hpp"
#include "genomics_io/window.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mambase::io {

/// A record in memory, forward strand.
struct StoredContig {
    std::string file;
    RecordSummary summary;            // name, length, counts
    std::vector<std::uint8_t> codes;  // [length]
    std::vector<Interval> runs;       // between gaps, ascending (see window.hpp)
};

class TokenStore {
  public:
    /// `gap` as in WindowOptions. The tokenizer has to outlive the store (those of named() do).
    explicit TokenStore(const Tokenizer& tokenizer, std::int64_t gap = WindowOptions{}.gap);

    /// Appends the records of a file of any format. Errors as open_sequences and WindowReader; a
    /// record of FASTA whose name is there already is an Error{format} that names both files, while
    /// reads may share names. Returns what was passed over.
    Skipped add(const std::string& path, const ReadOptions& options);

    const Tokenizer& tokenizer() const { return *tokenizer_; }
    const std::vector<StoredContig>& contigs() const { return contigs_; }
    /// The first record of that name.
    std::optional<std::int64_t> find(std::string_view name) const;
    /// Names and lengths of all records.
    std::vector<Contig> names() const;
    /// Bases of all contigs.
    std::int64_t total_bases() const;

  private:
    const Tokenizer* tokenizer_;
    std::int64_t gap_;
    std::vector<StoredContig> contigs_;
    std::unordered_map<std::string, std::int64_t> by_name_;
};

}  // namespace mambase::io
