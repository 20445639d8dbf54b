// Variants out of VCF (plain, gzip, bgzip) and BCF, record by record.
#pragma once

#include "base/observer.hpp"
#include "genomics_io/coordinates.hpp"
#include "genomics_io/source.hpp"
#include "genomics_io/variant.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mambase::io {

/// All records in order, from a file, a pipe or standard input ("-"); the format is told by the
/// content. With select(), those of a region, by an index.
///
/// What a position, an allele, a genotype or a phase depends on is judged: the number of columns,
/// POS, the letters of REF, the form of every ALT, that GT has a number for each haplotype and an
/// allele of that number is there. The other columns are as HTSlib takes them, tags that the header
/// does not declare too. Order and duplicates are not judged. Blank lines of text are passed over.
///
/// Errors: Error{format} with record and line (of text) or virtual offset, and for a missing end
/// marker of bgzip unless `ignore_eof`, as is a last line of text without an end;
/// Error{unsupported} for other formats; not_found and io as they come. A file cut anywhere fails,
/// or gives exactly the records before the cut.
class VariantSource {
  public:
    /// `samples`: those whose genotypes are wanted, in that order (all where it is empty);
    /// Error{not_found} for one that the file does not have. `options.reference` is not looked at.
    /// The path may name its index: `in.vcf.gz##idx##elsewhere.tbi`.
    explicit VariantSource(const std::string& path,
                           const ReadOptions& options = {},
                           const std::optional<std::vector<std::string>>& samples = std::nullopt);
    ~VariantSource();
    VariantSource(VariantSource&&) noexcept;
    VariantSource& operator=(VariantSource&&) = delete;
    VariantSource(const VariantSource&) = delete;
    VariantSource& operator=(const VariantSource&) = delete;

    /// Of the file alone, without an index; "-" is standard input.
    const std::string& path() const;
    const std::vector<std::string>& samples() const;

    /// The next record; false after the last. Nothing may be asked after an Error.
    bool next(Variant& variant);
    /// The record that next() gave last comes again.
    void put_back();

    /// From here on next() gives the records that touch [begin, end) of a contig (with what END
    /// says of them), in order, and may be asked for another region after that. Needs a file (bgzip
    /// VCF or BCF) with its .csi or .tbi, beside it or named in the path: Error{unsupported, usage,
    /// not_found}. Warns of an index older than the file. A contig that the file does not name has
    /// no records.
    void select(const std::string& contig, Interval interval, const Observer& observer);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace mambase::io
