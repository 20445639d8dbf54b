#include "genomics_io/haplotype.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"
#include "genomics_io/text_sources.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

namespace mambase::io {

namespace {

char upper(char letter) {
    return static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
}
char lower(char letter) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
}

/// What is left of REF and of an alternate without the ends that they share.
struct Trimmed {
    std::size_t begin = 0;  // letters that both begin with
    std::string_view reference;
    std::string_view alternate;

    bool is_pure() const { return reference.empty() != alternate.empty(); }
};

/// The first letter goes first (VCF puts one there that is no part of an insertion or deletion),
/// then the right end, then what is left of the left one: so repeats are taken at their left end.
Trimmed trim(std::string_view reference, std::string_view alternate) {
    const auto same = [](char a, char b) { return upper(a) == upper(b); };
    Trimmed out{0, reference, alternate};
    const auto drop_first = [&] {
        out.reference.remove_prefix(1);
        out.alternate.remove_prefix(1);
        ++out.begin;
    };
    if (same(out.reference.front(), out.alternate.front())) {
        drop_first();
    }
    while (!out.reference.empty() && !out.alternate.empty() &&
           same(out.reference.back(), out.alternate.back())) {
        out.reference.remove_suffix(1);
        out.alternate.remove_suffix(1);
    }
    while (!out.reference.empty() && !out.alternate.empty() &&
           same(out.reference.front(), out.alternate.front())) {
        drop_first();
    }
    return out;
}

enum class Event { deletion, inversion, duplication, other };

Event event_of(std::string_view symbol) {
    if (symbol == "<DEL>") {
        return Event::deletion;
    }
    if (symbol == "<INV>") {
        return Event::inversion;
    }
    return symbol == "<DUP>" || symbol == "<DUP:TANDEM>" ? Event::duplication : Event::other;
}

/// Without the case of its letters; `extent` as extent_of() says.
Change change_of(const Variant& variant, std::size_t i, const Trimmed& letters, Interval extent) {
    if (variant.alternates[i].kind == AlleleKind::bases) {
        const std::int64_t begin = variant.position + static_cast<std::int64_t>(letters.begin);
        const auto n = static_cast<std::int64_t>(letters.reference.size());
        return {{begin, begin + n}, std::string(letters.alternate), {}, Strand::forward};
    }
    switch (event_of(variant.alternates[i].text)) {
        case Event::inversion:
            return {extent, "", extent, Strand::reverse};
        case Event::duplication:
            return {{extent.end, extent.end}, "", extent, Strand::forward};
        default:
            return {extent, "", {}, Strand::forward};
    }
}

Interval on_strand(Interval forward, Strand strand, std::int64_t length) {
    return strand == Strand::forward ? forward : mirrored(forward, length);
}

}  // namespace

HaplotypeBuilder::HaplotypeBuilder(IndexedFasta reference, std::string path)
    : reference_(reference), check_(std::move(reference)), path_(std::move(path)) {}

void HaplotypeBuilder::require_order(const Variant& variant) {
    if (variant.contig != contig_) {
        contig_ = variant.contig;
        position_ = -1;
        taken_ = 0;
        after_insertion_ = false;
    }
    if (variant.position < position_) {
        throw Error(ErrorCode::format,
                    concat("variants of a haplotype have to be sorted, and this one stands after ",
                           contig_, ":", position_ + 1, " (bcftools sort)"))
            .at(path_)
            .record(variant.record, variant.place());
    }
    position_ = variant.position;
}

Effect HaplotypeBuilder::add(const Variant& variant, int allele, Change& change) {
    require_order(variant);
    if (allele <= 0) {
        return Effect::none;
    }
    const auto i = static_cast<std::size_t>(allele) - 1;
    MAMBASE_REQUIRE(i < variant.alternates.size(), ErrorCode::usage,
                    concat(variant.place(), " has no alternate ", allele));
    switch (variant.alternates[i].kind) {
        case AlleleKind::star:
            return Effect::star;
        case AlleleKind::breakend:
            return Effect::breakend;
        default:
            return add_alternate(variant, i, change);
    }
}

Effect HaplotypeBuilder::add_alternate(const Variant& variant, std::size_t i, Change& change) {
    const Allele& allele = variant.alternates[i];
    const bool letters = allele.kind == AlleleKind::bases;
    const std::optional<Interval> extent = extent_of(variant, i);
    if (!extent || (!letters && event_of(allele.text) == Event::other)) {
        return Effect::symbolic;
    }
    const Trimmed trimmed = letters ? trim(variant.reference, allele.text) : Trimmed();
    if (letters && trimmed.reference.empty() && trimmed.alternate.empty()) {
        return Effect::none;
    }
    const bool may_share = !letters || (trimmed.is_pure() && trimmed.begin > 0);
    const bool shares = may_share && !after_insertion_ && variant.position == taken_ - 1;
    if (variant.position < taken_ && !shares) {
        return Effect::overlap;
    }
    const std::string found = check_.require(variant, path_);
    const auto contig = static_cast<std::size_t>(reference_.find(variant.contig).value());
    const std::int64_t length = reference_.contigs()[contig].length;
    if (extent->end > length) {
        throw Error(ErrorCode::format, concat("the allele ", allele.text, " ends at ", extent->end,
                                              ", past the end of the contig at ", length))
            .at(path_)
            .record(variant.record, variant.place());
    }
    change = change_of(variant, i, trimmed, *extent);
    const bool masked = found.front() != upper(found.front());
    std::transform(change.bases.begin(), change.bases.end(), change.bases.begin(),
                   masked ? lower : upper);
    taken_ = extent->end;
    after_insertion_ = change.size() > change.replaced.size();
    return Effect::applied;
}

ChooseAllele haplotype_of_sample(std::size_t sample,
                                 std::size_t haplotype,
                                 std::optional<std::string> phase_set) {
    return [=](const Variant& variant) {
        const Genotype& genotype = variant.samples.at(sample);
        const bool asked = !phase_set || (genotype.phased && genotype.phase_set == *phase_set);
        return asked && haplotype < genotype.alleles.size() ? genotype.alleles[haplotype] : 0;
    };
}

NextChange changes_of(VariantSource& variants,
                      HaplotypeBuilder& builder,
                      std::string contig,
                      ChooseAllele choose,
                      Effects& effects) {
    return [&variants, &builder, &effects, contig = std::move(contig), choose = std::move(choose),
            variant = Variant(), inside = false](Change& change) mutable {
        while (variants.next(variant)) {
            if (variant.contig != contig) {
                if (inside) {
                    variants.put_back();
                    return false;
                }
                continue;
            }
            inside = true;
            const Effect effect = builder.add(variant, choose(variant), change);
            ++effects.at(static_cast<std::size_t>(effect));
            if (effect == Effect::applied) {
                return true;
            }
        }
        return false;
    };
}

std::int64_t Lift::growth() const {
    return blocks_.empty() ? forgotten_growth_
                           : blocks_.back().haplotype.end - blocks_.back().reference.end;
}

void Lift::add(Interval reference, std::int64_t size) {
    const std::int64_t begin = reference.begin + growth();
    blocks_.push_back({reference, {begin, begin + size}});
}

Lift::Place Lift::to_haplotype(std::int64_t reference) const {
    const auto after = std::upper_bound(
        blocks_.begin(), blocks_.end(), reference,
        [](std::int64_t value, const Block& block) { return value < block.reference.begin; });
    if (after == blocks_.begin()) {
        return {reference + forgotten_growth_, true};
    }
    const Block& block = *(after - 1);
    return reference < block.reference.end
               ? Place{block.haplotype.begin, false}
               : Place{reference - block.reference.end + block.haplotype.end, true};
}

Lift::Place Lift::to_reference(std::int64_t haplotype) const {
    const auto after = std::upper_bound(
        blocks_.begin(), blocks_.end(), haplotype,
        [](std::int64_t value, const Block& block) { return value < block.haplotype.begin; });
    if (after == blocks_.begin()) {
        return {haplotype - forgotten_growth_, true};
    }
    const Block& block = *(after - 1);
    return haplotype < block.haplotype.end
               ? Place{block.reference.begin, false}
               : Place{haplotype - block.haplotype.end + block.reference.end, true};
}

void Lift::forget(std::int64_t reference) {
    while (!blocks_.empty() && blocks_.front().reference.end <= reference) {
        forgotten_growth_ = blocks_.front().haplotype.end - blocks_.front().reference.end;
        blocks_.pop_front();
    }
}

HaplotypeSource::HaplotypeSource(IndexedFasta reference,
                                 std::int64_t contig,
                                 Interval interval,
                                 NextChange changes)
    : reference_(std::move(reference)),
      contig_(contig),
      length_(reference_.contigs().at(static_cast<std::size_t>(contig)).length),
      strand_(Strand::forward),
      interval_(interval),
      changes_(std::move(changes)),
      position_(interval_.begin),
      haplotype_(interval_.begin) {}

HaplotypeSource::HaplotypeSource(IndexedFasta reference,
                                 std::int64_t contig,
                                 Interval interval,
                                 std::vector<Change> changes,
                                 Strand strand)
    : HaplotypeSource(std::move(reference), contig, interval, NextChange()) {
    strand_ = strand;
    interval_ = on_strand(interval, strand, length_);
    position_ = haplotype_ = interval_.begin;
    if (strand == Strand::reverse) {
        std::reverse(changes.begin(), changes.end());
    }
    changes_ = [changes = std::move(changes), i = std::size_t{0}](Change& change) mutable {
        if (i == changes.size()) {
            return false;
        }
        change = std::move(changes[i++]);
        return true;
    };
}

void HaplotypeSource::fetch_change() {
    change_.emplace();
    if (!changes_(*change_)) {
        change_.reset();
        return;
    }
    replaced_ = on_strand(change_->replaced, strand_, length_);
    MAMBASE_REQUIRE(replaced_.begin >= position_ && replaced_.end <= interval_.end,
                    ErrorCode::usage,
                    concat("a change of [", change_->replaced.begin, ", ", change_->replaced.end,
                           ") does not follow the last one, or lies outside of what is read"));
}

void HaplotypeSource::apply_change() {
    const bool matched = change_->copied.size() == 0 && change_->size() == replaced_.size();
    if (!matched) {
        lift_.add(replaced_, change_->size());
    }
    while (position_ < replaced_.end && refill()) {
        const auto n = std::min<std::int64_t>(replaced_.end - position_,
                                              static_cast<std::int64_t>(piece_.size()));
        piece_ = piece_.subspan(static_cast<std::size_t>(n));
        position_ += n;
    }
    literal_ = std::move(change_->bases);
    literal_at_ = 0;
    if (strand_ == Strand::reverse) {
        reverse_complement(literal_);
    }
    if (change_->copied.size() > 0) {
        const bool turned = change_->strand != strand_;
        const Strand strand = turned ? Strand::reverse : Strand::forward;
        const Interval copied = on_strand(change_->copied, strand, length_);
        copy_ = reference_.read(contig_, copied.begin, copied.end, strand);
    }
    fetch_change();
}

/// The next piece of the reference, where none is left; false at its end.
bool HaplotypeSource::refill() {
    Segment segment;
    while (piece_.empty()) {
        if (!source_->next(segment)) {
            return false;
        }
        piece_ = segment.bases;
    }
    return true;
}

bool HaplotypeSource::is_finished() const {
    return literal_at_ == literal_.size() && !copy_ && !change_ && position_ == interval_.end;
}

/// Takes more bases, or applies a change; false at the end.
bool HaplotypeSource::step() {
    const std::size_t room = kSegmentBases - bases_.size();
    if (literal_at_ < literal_.size()) {
        const std::size_t n = std::min(room, literal_.size() - literal_at_);
        bases_.insert(bases_.end(), literal_.begin() + static_cast<std::ptrdiff_t>(literal_at_),
                      literal_.begin() + static_cast<std::ptrdiff_t>(literal_at_ + n));
        literal_at_ += n;
        return true;
    }
    if (copy_) {
        Segment segment;
        if (copy_->next(segment)) {
            bases_.insert(bases_.end(), segment.bases.begin(), segment.bases.end());
        }
        if (segment.last) {
            copy_.reset();
        }
        return true;
    }
    if (change_ && position_ == replaced_.begin) {
        apply_change();
        return true;
    }
    const std::int64_t end = change_ ? replaced_.begin : interval_.end;
    if (position_ == end || !refill()) {
        return false;
    }
    const std::size_t n =
        std::min({room, piece_.size(), static_cast<std::size_t>(end - position_)});
    bases_.insert(bases_.end(), piece_.begin(), piece_.begin() + static_cast<std::ptrdiff_t>(n));
    piece_ = piece_.subspan(n);
    position_ += static_cast<std::int64_t>(n);
    return true;
}

bool HaplotypeSource::next(Segment& segment) {
    if (done_) {
        return false;
    }
    if (first_) {
        source_ = reference_.read(contig_, interval_.begin, interval_.end, strand_);
        fetch_change();
    }
    bases_.clear();
    while (bases_.size() < kSegmentBases && step()) {
    }
    segment.record = contig_;
    segment.name = reference_.contigs()[static_cast<std::size_t>(contig_)].name;
    segment.start = haplotype_;
    segment.bases = bases_;
    segment.first = std::exchange(first_, false);
    segment.last = done_ = is_finished();
    haplotype_ += static_cast<std::int64_t>(bases_.size());
    return true;
}

}  // namespace mambase::io
