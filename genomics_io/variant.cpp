#include "genomics_io/variant.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace mambase::io {

namespace {

char upper(char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
}

bool is_letters(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](char c) { return is_base(c) || is_ambiguous(c); });
}

/// "t[p[", "t]p]", "]p]t", "[p[t", where p is contig:position.
bool is_breakend(std::string_view text) {
    const std::size_t open = text.find_first_of("[]");
    const std::size_t close =
        open == std::string_view::npos ? open : text.find(text[open], open + 1);
    if (close == std::string_view::npos) {
        return false;
    }
    const std::string_view mate = text.substr(open + 1, close - open - 1);
    const std::size_t colon = mate.rfind(':');
    const bool before = open > 0;
    const std::string_view bases = before ? text.substr(0, open) : text.substr(close + 1);
    return (before ? close + 1 == text.size() : true) && is_letters(bases) &&
           colon != std::string_view::npos && colon > 0 && colon + 1 < mate.size() &&
           mate.find_first_not_of("0123456789", colon + 1) == std::string_view::npos;
}

/// The base that VCF 4.3 (1.6.1) has in REF where the reference has a code for several.
char reduced(char code) {
    constexpr std::string_view codes = "RYSWKMBDHVU";
    constexpr std::string_view first = "ACCAGACAAAT";
    const std::size_t at = codes.find(code);
    return at == std::string_view::npos ? code : first[at];
}

bool same_letter(char in_variant, char in_reference) {
    const char a = upper(in_variant);
    const char b = upper(in_reference);
    return a == b || a == reduced(b);
}

std::string_view shortened(std::string_view text) {
    constexpr std::size_t most = 60;  // of a long REF in a message
    return text.substr(0, most);
}

}  // namespace

std::string Variant::place() const {
    return concat(contig, ":", position + 1);
}

AlleleKind classify_allele(std::string_view text) {
    if (text == "*") {
        return AlleleKind::star;
    }
    if (is_letters(text)) {
        return AlleleKind::bases;
    }
    if (text.size() > 2 && text.front() == '<' && text.back() == '>' &&
        text.find_first_of("<> \t", 1) == text.size() - 1) {
        return AlleleKind::symbolic;
    }
    const bool single =
        text.size() > 1 &&
        (text.front() == '.' ? is_letters(text.substr(1))
                             : text.back() == '.' && is_letters(text.substr(0, text.size() - 1)));
    if (single || is_breakend(text)) {
        return AlleleKind::breakend;
    }
    throw Error(ErrorCode::format, concat("ALT '", shortened(text),
                                          "' is neither bases, '*', a symbolic allele in < > nor a "
                                          "breakend"));
}

std::optional<Interval> extent_of(const Variant& variant, std::size_t i) {
    const AlleleKind kind = variant.alternates[i].kind;
    const std::int64_t begin = variant.position;
    if (kind == AlleleKind::bases) {
        return Interval{begin, begin + static_cast<std::int64_t>(variant.reference.size())};
    }
    if (kind != AlleleKind::symbolic) {
        return std::nullopt;
    }
    std::optional<std::int64_t> end = variant.end;
    if (!variant.lengths.empty() && (!end || variant.alternates.size() > 1)) {
        const std::size_t of = variant.lengths.size() == variant.alternates.size() ? i : 0;
        end = begin + 1 + variant.lengths[of];
    }
    return end && *end > begin + 1 ? std::optional(Interval{begin + 1, *end}) : std::nullopt;
}

ReferenceMatch ReferenceCheck::compare(const Variant& variant, std::string& found) const {
    found.clear();
    const std::optional<std::int64_t> contig = reference_.find(variant.contig);
    if (!contig) {
        return ReferenceMatch::no_contig;
    }
    const std::int64_t length = reference_.contigs()[static_cast<std::size_t>(*contig)].length;
    const std::int64_t end = variant.position + static_cast<std::int64_t>(variant.reference.size());
    if (variant.position >= 0 && variant.position < length) {
        const auto source =
            reference_.read(*contig, variant.position, std::min(end, length), Strand::forward);
        Segment segment;
        while (source->next(segment)) {
            found.append(segment.bases.begin(), segment.bases.end());
        }
    }
    const bool any_base = upper(variant.reference.front()) == 'N' && found.size() == 1 &&
                          std::none_of(variant.alternates.begin(), variant.alternates.end(),
                                       [](const Allele& a) { return a.kind == AlleleKind::bases; });
    return any_base || std::equal(variant.reference.begin(), variant.reference.end(), found.begin(),
                                  found.end(), same_letter)
               ? ReferenceMatch::same
               : ReferenceMatch::differs;
}

std::string ReferenceCheck::require(const Variant& variant, const std::string& path) const {
    std::string found;
    switch (compare(variant, found)) {
        case ReferenceMatch::same:
            return found;
        case ReferenceMatch::differs:
            throw Error(
                ErrorCode::format,
                concat("REF is '", shortened(variant.reference), "', where ", reference_.path(),
                       " has ",
                       found.empty() ? std::string("no base") : concat("'", shortened(found), "'"),
                       ": not the reference that these variants were called on"))
                .at(path)
                .record(variant.record, variant.place());
        default: {
            const std::string_view chr = "chr";
            const bool has_chr = variant.contig.starts_with(chr);
            const std::string other =
                has_chr ? variant.contig.substr(chr.size()) : concat(chr, variant.contig);
            std::string what =
                concat("there is no contig '", variant.contig, "' in ", reference_.path());
            if (reference_.find(other)) {
                what += concat(", which has '", other, "'");
            }
            throw Error(ErrorCode::not_found, what)
                .at(path)
                .record(variant.record, variant.place());
        }
    }
}

}  // namespace mambase::io
