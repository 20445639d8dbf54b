#include "genomics_io/haplotype.hpp"

#include "genomics_io/alphabet.hpp"
#include "tests/unit/genomics_io/source_conformance.hpp"
#include "tests/unit/genomics_io/variant_files.hpp"

#include <algorithm>
#include <cctype>

using namespace mambase;
using namespace mambase::io;

namespace {

/// A reference of one contig, "c", in a file of its own.
struct Reference {
    explicit Reference(const std::string& text)
        : bases(text), fasta(open(dir.file("ref.fa"), text)) {}
    static IndexedFasta open(const std::string& path, const std::string& text) {
        write_text(path, test::fasta_text({{"c", text}}));
        return IndexedFasta::open(path, {}, {});
    }
    std::int64_t length() const { return static_cast<std::int64_t>(bases.size()); }

    test::TempDir dir;
    std::string bases;
    IndexedFasta fasta;
};

Variant make(std::int64_t position,
             const std::string& reference,
             const std::string& alternate,
             std::optional<std::int64_t> end = std::nullopt) {
    Variant variant;
    variant.contig = "c";
    variant.position = position;
    variant.reference = reference;
    variant.alternates = {{alternate, classify_allele(alternate)}};
    variant.end = end;
    return variant;
}

struct Built {
    std::vector<Change> changes;
    std::vector<Effect> effects;
};

Built build(const IndexedFasta& fasta, const std::vector<Variant>& variants) {
    HaplotypeBuilder builder(fasta, "in.vcf");
    Built out;
    for (const Variant& variant : variants) {
        Change change;
        out.effects.push_back(builder.add(variant, 1, change));
        if (out.effects.back() == Effect::applied) {
            out.changes.push_back(change);
        }
    }
    return out;
}

std::string read(HaplotypeSource source, std::int64_t start = 0) {
    const std::vector<test::Record> records = test::collect(source, start);
    REQUIRE(records.size() == 1);
    CHECK(records[0].name == "c");
    return records[0].bases;
}

std::string haplotype(const Reference& reference, const std::vector<Variant>& variants) {
    return read(HaplotypeSource(reference.fasta, 0, {0, reference.length()},
                                build(reference.fasta, variants).changes, Strand::forward));
}

std::string reversed(std::string bases) {
    reverse_complement(bases);
    return bases;
}

}  // namespace

TEST_CASE("alleles applied to a reference") {
    const Reference reference("ACGTacgtACGTTTTG");
    const auto apply = [&](const std::vector<Variant>& variants) {
        return haplotype(reference, variants);
    };
    CHECK(apply({}) == "ACGTacgtACGTTTTG");
    CHECK(apply({make(1, "C", "T")}) == "ATGTacgtACGTTTTG");
    CHECK(apply({make(4, "A", "G"), make(9, "C", "t")}) == "ACGTgcgtATGTTTTG");  // the case of POS
    CHECK(apply({make(1, "C", "CAA")}) == "ACAAGTacgtACGTTTTG");
    CHECK(apply({make(1, "CGT", "C")}) == "ACacgtACGTTTTG");
    CHECK(apply({make(11, "TTTT", "TT")}) == "ACGTacgtACGTTG");
    CHECK(apply({make(2, "GTAC", "AC")}) == "ACacgtACGTTTTG");
    CHECK(apply({make(0, "ACGTACGTACGTTTTG", "A")}) == "A");
    CHECK(apply({make(15, "G", "GCC")}) == "ACGTacgtACGTTTTGCC");
    CHECK(apply({make(0, "A", "CCA")}) == "CCACGTacgtACGTTTTG");
    CHECK(apply({make(2, "G", "<DEL>", 8)}) == "ACGACGTTTTG");
    CHECK(apply({make(1, "C", "<INV>", 5)}) == "ACtACcgtACGTTTTG");
    CHECK(apply({make(1, "C", "<DUP>", 5)}) == "ACGTaGTacgtACGTTTTG");
    CHECK(apply({make(1, "C", "<DUP:TANDEM>", 5), make(5, "C", "A")}) == "ACGTaGTaagtACGTTTTG");
}

TEST_CASE("which alleles are left out, and why") {
    const Reference reference("ACGTACGTACGTTTTG");
    const auto effects = [&](const std::vector<Variant>& variants) {
        return build(reference.fasta, variants).effects;
    };
    using E = std::vector<Effect>;
    CHECK(effects({make(1, "C", "*"), make(1, "C", "C[c:9["), make(1, "C", "<INS>", 5)}) ==
          E{Effect::star, Effect::breakend, Effect::symbolic});
    CHECK(effects({make(1, "C", "<DEL>"), make(1, "CG", "cg")}) ==
          E{Effect::symbolic, Effect::none});
    // The first wins …
    CHECK(effects({make(1, "C", "T"), make(1, "C", "G")}) == E{Effect::applied, Effect::overlap});
    CHECK(effects({make(1, "CGT", "C"), make(3, "T", "A"), make(4, "A", "T")}) ==
          E{Effect::applied, Effect::overlap, Effect::applied});
    CHECK(effects({make(1, "C", "<DEL>", 6), make(5, "C", "T"), make(6, "G", "T")}) ==
          E{Effect::applied, Effect::overlap, Effect::applied});
    // … but for the base before an insertion or deletion, once.
    CHECK(effects({make(1, "C", "T"), make(1, "C", "CA"), make(1, "C", "CG")}) ==
          E{Effect::applied, Effect::applied, Effect::overlap});
    CHECK(effects({make(1, "C", "CA"), make(1, "C", "T")}) == E{Effect::applied, Effect::overlap});
    CHECK(effects({make(1, "CG", "C"), make(2, "G", "GAA")}) ==
          E{Effect::applied, Effect::applied});
    CHECK(effects({make(1, "C", "T"), make(1, "CG", "C")}) == E{Effect::applied, Effect::applied});
    CHECK(effects({make(1, "C", "T"), make(1, "CG", "A")}) == E{Effect::applied, Effect::overlap});
    CHECK(haplotype(reference, {make(1, "C", "T"), make(1, "C", "CA")}) == "ATAGTACGTACGTTTTG");
    CHECK(haplotype(reference, {make(1, "CG", "C"), make(2, "G", "GAA")}) == "ACAATACGTACGTTTTG");
}

TEST_CASE("alleles that do not fit the reference") {
    const Reference reference("ACGTACGTACGTTTTG");
    const auto error = [&](const std::vector<Variant>& variants) {
        return test::error_of([&] { build(reference.fasta, variants); });
    };
    CHECK_THAT(error({make(1, "G", "T")}),
               Catch::StartsWith("format: in.vcf: record 0 (c:2): REF is 'G', where"));
    CHECK_THAT(error({make(1, "C", "<DEL>", 17)}), Catch::Contains("ends at 17, past the end"));
    CHECK_THAT(error({make(3, "T", "A"), make(1, "C", "A")}),
               Catch::StartsWith("format: ") && Catch::Contains("stands after c:4"));
    const auto source_error = [&](std::vector<Change> changes, Strand strand) {
        return test::error_of([&] {
            HaplotypeSource source(reference.fasta, 0, {4, 12}, std::move(changes), strand);
            test::collect(source, 4);
        });
    };
    for (const Strand strand : {Strand::forward, Strand::reverse}) {
        CHECK(source_error({{{5, 6}, "A", {}, {}}, {{11, 12}, "", {}, {}}}, strand) == "no error");
        for (const Interval outside : {Interval{3, 5}, Interval{11, 13}, Interval{0, 1}}) {
            CHECK_THAT(source_error({{outside, "A", {}, {}}}, strand),
                       Catch::StartsWith("usage: "));
        }
        CHECK_THAT(source_error({{{5, 7}, "A", {}, {}}, {{6, 8}, "", {}, {}}}, strand),
                   Catch::StartsWith("usage: "));
    }
}

TEST_CASE("a haplotype has the same bases on either strand, whole and by windows") {
    std::mt19937 random(20261126);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
    for (int round = 0; round < 12; ++round) {
        const std::size_t length = round == 0 ? 400000 : 1 + below(3000);
        std::string bases = test::random_bases(random, length, 30);
        std::replace_if(
            bases.begin(), bases.end(), [](char c) { return std::toupper(c) == 'U'; }, 'T');
        const Reference reference(bases);
        // Alleles at random, and what they come to, letter by letter.
        std::vector<Variant> variants;
        std::vector<std::string> letters(length + 1);  // what stands at a base, and after the last
        for (std::size_t i = 0; i < length; ++i) {
            letters[i] = bases.substr(i, 1);
        }
        for (std::size_t at = below(20); at < length;) {
            const std::size_t n = std::min(1 + below(round == 0 ? 20000 : 12), length - at);
            std::string ref = bases.substr(at, n);
            std::string alt;
            for (std::size_t k = below(round == 0 ? 40000 : 12) + 1; k > 0; --k) {
                alt.push_back("ACGT"[below(4)]);
            }
            std::transform(ref.begin(), ref.end(), ref.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
            if (below(2) == 0) {
                alt[0] = ref[0];
            }
            variants.push_back(make(static_cast<std::int64_t>(at), ref, alt));
            std::fill_n(letters.begin() + static_cast<std::ptrdiff_t>(at), n, "");
            letters[at] = alt;
            at += n + below(round == 0 ? 60000 : 25);
        }
        std::string expected;
        for (const std::string& part : letters) {
            expected += part;
        }
        const Built built = build(reference.fasta, variants);
        const Interval whole{0, reference.length()};
        const auto upper = [](std::string text) {
            std::transform(text.begin(), text.end(), text.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
            return text;
        };
        HaplotypeSource source(reference.fasta, 0, whole, built.changes, Strand::forward);
        const std::string forward = test::collect(source).at(0).bases;
        CAPTURE(round, length, variants.size());
        REQUIRE(upper(forward) == upper(expected));
        HaplotypeSource back(reference.fasta, 0, whole, built.changes, Strand::reverse);
        REQUIRE(test::collect(back).at(0).bases == reversed(forward));

        // Bases that the lift matches are the reference's; both ways agree, on either strand.
        const std::string reverse_bases = reversed(bases);
        for (const bool turned : {false, true}) {
            const Lift& lift = turned ? back.lift() : source.lift();
            const std::string ours = turned ? reversed(forward) : forward;
            std::int64_t exact = 0;
            for (std::int64_t p = 0; p < reference.length(); p += 1 + below(3)) {
                const Lift::Place place = lift.to_haplotype(p);
                if (!place.exact) {
                    continue;
                }
                ++exact;
                REQUIRE(place.position < static_cast<std::int64_t>(ours.size()));
                const Lift::Place again = lift.to_reference(place.position);
                REQUIRE((again.exact && again.position == p));
            }
            CHECK((exact > 0 || length < 100));
        }
        // A window between alleles is a piece of the whole.
        for (std::size_t i = 0; i + 1 < built.changes.size(); i += 1 + below(4)) {
            const std::size_t j = std::min(built.changes.size() - 1, i + below(5));
            const Interval window{built.changes[i].replaced.begin, built.changes[j].replaced.end};
            const std::vector<Change> some(
                built.changes.begin() + static_cast<std::ptrdiff_t>(i),
                built.changes.begin() + static_cast<std::ptrdiff_t>(j + 1));
            HaplotypeSource part(reference.fasta, 0, window, some, Strand::forward);
            const std::string got = test::collect(part, window.begin).at(0).bases;
            std::int64_t before = 0;
            for (std::size_t k = 0; k < i; ++k) {
                before += built.changes[k].size() - built.changes[k].replaced.size();
            }
            REQUIRE(forward.compare(static_cast<std::size_t>(window.begin + before), got.size(),
                                    got) == 0);
        }
    }
}

TEST_CASE("what is turned over or doubled reads the same from the other side") {
    std::mt19937 random(3);
    std::string bases = test::random_bases(random, 300000, 40);
    std::replace_if(
        bases.begin(), bases.end(), [](char c) { return std::toupper(c) == 'U'; }, 'T');
    const Reference reference(bases);
    const std::vector<Variant> variants{make(100, "N", "<INV>", 200100),
                                        make(200100, "N", "<DUP>", 250000),
                                        make(250000, "N", "<DEL>", 260000)};
    const Built built = build(reference.fasta, variants);
    REQUIRE(built.effects == std::vector<Effect>(3, Effect::applied));
    const std::string expected = bases.substr(0, 101) + reversed(bases.substr(101, 199999)) +
                                 bases.substr(200100, 49900) + bases.substr(200101, 49899) +
                                 bases.substr(250000, 1) + bases.substr(260000);
    const Interval whole{0, reference.length()};
    CHECK(read(HaplotypeSource(reference.fasta, 0, whole, built.changes, Strand::forward)) ==
          expected);
    CHECK(read(HaplotypeSource(reference.fasta, 0, whole, built.changes, Strand::reverse)) ==
          reversed(expected));
}

TEST_CASE("a lift says where a place is in the other sequence") {
    Lift lift;
    lift.add({5, 5}, 3);    // an insertion
    lift.add({10, 14}, 0);  // a deletion
    lift.add({20, 22}, 5);
    const auto same = [](Lift::Place place, std::int64_t position, bool exact) {
        return place.position == position && place.exact == exact;
    };
    CHECK(same(lift.to_haplotype(4), 4, true));
    CHECK(same(lift.to_haplotype(5), 8, true));
    CHECK(same(lift.to_haplotype(9), 12, true));
    CHECK(same(lift.to_haplotype(12), 13, false));
    CHECK(same(lift.to_haplotype(14), 13, true));
    CHECK(same(lift.to_haplotype(21), 19, false));
    CHECK(same(lift.to_haplotype(22), 24, true));
    CHECK(same(lift.to_reference(4), 4, true));
    CHECK(same(lift.to_reference(5), 5, false));
    CHECK(same(lift.to_reference(8), 5, true));
    CHECK(same(lift.to_reference(13), 14, true));
    CHECK(same(lift.to_reference(20), 20, false));
    CHECK(same(lift.to_reference(24), 22, true));
    lift.forget(15);
    CHECK(same(lift.to_haplotype(16), 15, true));
    CHECK(same(lift.to_reference(15), 16, true));
    CHECK(same(lift.to_haplotype(22), 24, true));
    lift.forget(100);
    CHECK(same(lift.to_haplotype(100), 102, true));
    lift.add({110, 111}, 2);
    CHECK(same(lift.to_haplotype(111), 114, true));
}

TEST_CASE("a sample's haplotypes, contig after contig out of one pass") {
    const test::TempDir dir;
    write_text(dir.file("ref.fa"), ">c\nACGTACGT\n>d\nTTTT\n>e\nGGGG\n");
    const IndexedFasta fasta = IndexedFasta::open(dir.file("ref.fa"), {}, {});
    test::write_variants(dir.file("in.vcf"),
                         "##fileformat=VCFv4.3\n##contig=<ID=c>\n##contig=<ID=d>\n##contig=<ID=e>\n"
                         "##FORMAT=<ID=GT,Number=1,Type=String,Description=\"\">\n"
                         "##FORMAT=<ID=PS,Number=1,Type=Integer,Description=\"\">\n"
                         "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n"
                         "c\t1\t.\tA\tG\t.\t.\t.\tGT:PS\t0|1:1\t0/0:.\n"
                         "c\t2\t.\tC\tT,CAA\t.\t.\t.\tGT:PS\t2|1:1\t./.:.\n"
                         "c\t4\t.\tT\tA\t.\t.\t.\tGT:PS\t0/1:.\t1:.\n"
                         "c\t8\t.\tT\tG\t.\t.\t.\tGT:PS\t1|0:8\t.:.\n"
                         "e\t2\t.\tG\t*,C\t.\t.\t.\tGT:PS\t1|2:2\t2|2:2\n",
                         "vcf");
    const auto all = [&](const ChooseAllele& choose, Effects& effects) {
        VariantSource variants(dir.file("in.vcf"));
        HaplotypeBuilder builder(fasta, variants.path());
        std::string text;
        for (const std::int64_t contig : {0, 2}) {
            const Contig& it = fasta.contigs().at(static_cast<std::size_t>(contig));
            HaplotypeSource source(fasta, contig, {0, it.length},
                                   changes_of(variants, builder, it.name, choose, effects));
            text += test::collect(source).at(0).bases + " ";
        }
        return text;
    };
    Effects effects{};
    CHECK(all(haplotype_of_sample(0, 0), effects) == "ACAAGTACGG GGGG ");
    CHECK(effects == Effects{2, 2, 1, 0, 0, 0});
    CHECK(all(haplotype_of_sample(0, 1), effects) == "GTGAACGT GCGG ");
    CHECK(all(haplotype_of_sample(1, 0), effects) == "ACGAACGT GCGG ");
    CHECK(all(haplotype_of_sample(1, 1), effects) ==
          "ACGTACGT GCGG ");  // haploid: no second allele
    CHECK(all(haplotype_of_sample(0, 0, "1"), effects) == "ACAAGTACGT GGGG ");
    CHECK(all(haplotype_of_sample(0, 1, "8"), effects) == "ACGTACGT GGGG ");
}
