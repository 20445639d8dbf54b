// A reference with alleles applied: a sample's haplotype, or any chosen set, as a source of
// sequence, and the lift of coordinates between the two.
#pragma once

#include "genomics_io/coordinates.hpp"
#include "genomics_io/indexed_fasta.hpp"
#include "genomics_io/source.hpp"
#include "genomics_io/variant.hpp"
#include "genomics_io/variant_source.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mambase::io {

/// A stretch of the reference that goes, and what comes in its place: `bases`, or the reference's
/// own `copied` as read on `strand`. All intervals are forward.
struct Change {
    Interval replaced;  // empty: an insertion before replaced.begin
    std::string bases;
    Interval copied;
    Strand strand = Strand::forward;

    std::int64_t size() const { return static_cast<std::int64_t>(bases.size()) + copied.size(); }
};

/// What becomes of an allele.
enum class Effect {
    applied,
    none,      // REF, missing, or the same letters as REF
    star,      // "*": the deletion before it says what is there
    symbolic,  // no sequence: not <DEL>, <INV>, <DUP> or <DUP:TANDEM>, or nothing says how long
    breakend,
    overlap,  // touches an allele applied before it
};
inline constexpr std::size_t kEffects = 6;

/// Alleles of one haplotype, in order of position, as changes that follow each other.
///
/// REF and the shared ends of REF and ALT stay as the reference has them; what is new takes the
/// case of the reference at POS. <DEL> takes out what extent_of() says, <INV> turns it over, <DUP>
/// puts it in once more behind itself.
///
/// The first allele wins: one whose REF begins before the end of the last applied one's is passed
/// over, as by `bcftools consensus`. One base may be shared: a pure insertion or deletion may begin
/// with the last base of an allele that is itself no insertion.
class HaplotypeBuilder {
  public:
    /// `path`: what errors name the variants by.
    HaplotypeBuilder(IndexedFasta reference, std::string path);

    /// `allele`: 0 REF, i the i-th alternate, kMissingAllele. Where `applied`, `change` is set.
    /// Error{format, not_found} that names the record where the REF of an allele to be applied is
    /// not what the reference has, where it ends outside of the contig, and for variants of a
    /// contig that are not sorted.
    Effect add(const Variant& variant, int allele, Change& change);

  private:
    Effect add_alternate(const Variant& variant, std::size_t i, Change& change);
    void require_order(const Variant& variant);

    IndexedFasta reference_;
    ReferenceCheck check_;
    std::string path_;
    std::string contig_;
    std::int64_t position_ = -1;    // of the last variant
    std::int64_t taken_ = 0;        // one past the last base of the applied alleles' REF
    bool after_insertion_ = false;  // the last applied allele was one
};

/// The next change of a haplotype, in ascending order; false after the last.
using NextChange = std::function<bool(Change&)>;
/// Which allele of a variant; 0 (REF) leaves it out.
using ChooseAllele = std::function<int(const Variant&)>;

/// Allele `haplotype` (0-based) of `sample` (0-based), whatever its phase, as `bcftools consensus
/// -H` takes it; `phase_set`: only where the genotype is phased and of that set.
ChooseAllele haplotype_of_sample(std::size_t sample,
                                 std::size_t haplotype,
                                 std::optional<std::string> phase_set = std::nullopt);

/// Counts of effects, by their enumerators.
using Effects = std::array<std::int64_t, kEffects>;

/// The changes of the chosen alleles of one contig, out of variants that are sorted: those that
/// `variants` has next, passing over other contigs before it and ending where it ends. What is
/// referred to has to outlive the function that is returned; `effects` counts what became of them.
NextChange changes_of(VariantSource& variants,
                      HaplotypeBuilder& builder,
                      std::string contig,
                      ChooseAllele choose,
                      Effects& effects);

/// Coordinates of a reference and of a haplotype on one strand, each counted in the order of
/// reading. Bases that were replaced by as many match one by one. Memory: 32 bytes a change of
/// another length (or a turned one), until forget().
class Lift {
  public:
    struct Place {
        std::int64_t position = 0;
        bool exact = true;  // false: inside of a change; the position is that of its first base (or
                            // of what follows, where nothing came)
    };

    /// A stretch of the reference, after all before, in whose place `size` bases stand that are not
    /// matched.
    void add(Interval reference, std::int64_t size);

    Place to_haplotype(std::int64_t reference) const;
    Place to_reference(std::int64_t haplotype) const;
    /// Nothing before this position of the reference is asked for from here on.
    void forget(std::int64_t reference);

  private:
    struct Block {
        Interval reference;
        Interval haplotype;
    };
    std::int64_t growth() const;  // of the haplotype beside the reference, after the last block

    std::deque<Block> blocks_;
    std::int64_t forgotten_growth_ = 0;
};

/// The bases of [begin, end) of a contig with changes applied that lie in it, as one record. Its
/// segments count haplotype positions, from where the reference stands where reading starts
/// (forward: `begin`, reverse: the distance of `end` from the contig's end).
///
/// Memory: a segment, the longest `bases` of a change, and lift().
class HaplotypeSource final : public SequenceSource {
  public:
    /// `changes` ascending, without overlap, forward: they are asked for as reading comes to them.
    HaplotypeSource(IndexedFasta reference,
                    std::int64_t contig,
                    Interval interval,
                    NextChange changes);
    /// On either strand; the reverse needs all of them at once.
    HaplotypeSource(IndexedFasta reference,
                    std::int64_t contig,
                    Interval interval,
                    std::vector<Change> changes,
                    Strand strand);

    /// Error{usage} for a change that lies outside of the interval or does not follow the last one.
    bool next(Segment& segment) override;
    const std::string& path() const override { return reference_.path(); }

    /// Of what was read, in strand coordinates of both.
    Lift& lift() { return lift_; }

  private:
    void fetch_change();
    void apply_change();
    bool refill();
    bool step();
    bool is_finished() const;

    IndexedFasta reference_;
    std::int64_t contig_;
    std::int64_t length_;  // of the contig
    Strand strand_;
    Interval interval_;  // strand coordinates, as all that follows
    NextChange changes_;

    std::unique_ptr<SequenceSource> source_;  // the reference of interval_
    std::span<const char> piece_;             // of it, what is not taken yet
    std::int64_t position_;                   // of the reference, of what comes next
    std::optional<Change> change_;            // the next one
    Interval replaced_;                       // by it

    std::string literal_;  // of the change that is being written
    std::size_t literal_at_ = 0;
    std::unique_ptr<SequenceSource> copy_;  // likewise

    Lift lift_;
    std::vector<char> bases_;
    std::int64_t haplotype_;  // position of the next segment
    bool first_ = true;
    bool done_ = false;
};

}  // namespace mambase::io
