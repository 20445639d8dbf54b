// Random access to FASTA, plain or bgzip, on either strand, through .fai (and .gzi).
#pragma once

#include "base/observer.hpp"
#include "genomics_io/coordinates.hpp"
#include "genomics_io/fasta_source.hpp"
#include "genomics_io/source.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::io {

struct Contig {
    std::string name;
    std::int64_t length = 0;
};

/// A FASTA file with its index. Cheap to copy (shares one immutable state); read() may be called
/// from several threads, each source then belongs to one thread and may outlive this object.
class IndexedFasta {
  public:
    /// Loads FILE.fai (and FILE.gzi of a bgzip file). What is missing is built and written
    /// beside the file, or, where that cannot be written, under TMPDIR; an index older than the
    /// file is a warning. "ref.fa.gz##idx##elsewhere/x.fai" names the .fai (which has to be there),
    /// and x.gzi, if there is one. `options.threads` has no use here.
    ///
    /// Error{unsupported}: plain gzip, which cannot be indexed ("recompress with bgzip"); lines of
    /// one record that differ in length. Error{usage}: standard input or a pipe. Error{format}: as
    /// open_fasta while building, an index that cannot be parsed, duplicate names.
    static IndexedFasta open(const std::string& path_and_index,
                             const ReadOptions& options,
                             const Observer& observer);

    const std::string& path() const;
    const std::vector<Contig>& contigs() const;
    /// Index of the contig of that name.
    std::optional<std::int64_t> find(std::string_view name) const;

    /// The bases of strand coordinates [begin, end) of a contig as a source of segments (one
    /// record, its index that of the contig). 0 <= begin <= end <= length, else Error{usage}.
    ///
    /// The first read of a contig checks that its index fits the file: its bases follow the header
    /// of that name, and end where the next header (or the file) begins: Error{format} that says to
    /// rebuild the index.
    std::unique_ptr<SequenceSource> read(std::int64_t contig,
                                         std::int64_t begin,
                                         std::int64_t end,
                                         Strand strand) const;

    struct State;

  private:
    explicit IndexedFasta(std::shared_ptr<const State> state);
    std::shared_ptr<const State> state_;
};

}  // namespace mambase::io
