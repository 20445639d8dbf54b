// A variant as VCF has it, and how its REF compares with a reference.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/indexed_fasta.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mambase::io {

enum class AlleleKind {
    bases,     // letters: A C G T N or another IUPAC code, either case
    star,      // "*": not there, lost to a deletion that begins before
    symbolic,  // "<DEL>", "<*>", "<INS:ME>" …
    breakend,  // "G]17:198982]", "[13:123457[A", ".A" …
};

struct Allele {
    std::string text;
    AlleleKind kind = AlleleKind::bases;
};

inline constexpr int kMissingAllele = -1;

/// What one sample has.
struct Genotype {
    /// Of each haplotype 0 (REF), i (the i-th alternate) or kMissingAllele; none where there is no
    /// GT.
    std::vector<int> alleles;
    bool phased = false;    // parted by '|' alone; a haploid call is
    std::string phase_set;  // PS; empty where it is not said: then a contig is one set
};

struct Variant {
    std::int64_t record = 0;  // 0-based, of those that were read
    std::string contig;
    std::int64_t position = 0;  // 0-based, of the first base of REF; −1: before the contig's first
    std::string id;             // "." where there is none
    std::string reference;      // REF
    std::vector<Allele> alternates;    // none where ALT is "."
    std::vector<std::string> filters;  // {"PASS"}, or those that failed; none where it is "."
    std::optional<std::int64_t> end;   // INFO/END: 0-based, one past the last base
    std::vector<std::int64_t>
        lengths;  // INFO/SVLEN without sign, 0 where it is "."; of each alternate or of one
    std::vector<Genotype> samples;  // in the order of VariantSource::samples()

    /// "chr1:1235", 1-based, for messages.
    std::string place() const;
};

/// Of the text of an ALT. Error{format} for what VCF does not know.
AlleleKind classify_allele(std::string_view text);

/// What alternate `i` stands for on the reference: REF's interval for bases; for a symbolic allele
/// from after its first base as far as END says (SVLEN, where there are several alternates or no
/// END). Nothing for the other kinds and where nothing says how far.
std::optional<Interval> extent_of(const Variant& variant, std::size_t i);

enum class ReferenceMatch {
    same,       // case-blind; where the reference has an IUPAC code, REF may have it too, or the
                // base that VCF 4.3 writes for it: the first in the alphabet. REF "N" of alternates
                // none of which is bases fits everywhere
    differs,    // or lies outside of the contig
    no_contig,  // the reference has none of that name
};

/// Compares the REF of variants with a reference.
class ReferenceCheck {
  public:
    explicit ReferenceCheck(IndexedFasta reference) : reference_(std::move(reference)) {}

    /// `found` is what the reference has there, "" where the contig ends before.
    ReferenceMatch compare(const Variant& variant, std::string& found) const;
    /// The reference's letters; Error{format, not_found} that names the record of `path`, what it
    /// has and what the reference has, unless they are the same.
    std::string require(const Variant& variant, const std::string& path) const;

  private:
    IndexedFasta reference_;
};

}  // namespace mambase::io
