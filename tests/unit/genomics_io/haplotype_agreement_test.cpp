// The haplotypes that we read are those of `bcftools consensus`, on the calls of a whole
// chromosome.
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/haplotype.hpp"
#include "tests/support/data_dir.hpp"
#include "tests/support/temp_dir.hpp"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>
#include <htslib/bgzf.h>
#include <htslib/tbx.h>

using namespace mambase;
using namespace mambase::io;

namespace {

struct Pipe {
    explicit Pipe(const std::string& command) : stream(popen(command.c_str(), "r")) {
        REQUIRE(stream != nullptr);
    }
    ~Pipe() { pclose(stream); }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    std::FILE* stream;
};

/// The bases of a FASTA of one record that a command writes, one by one; EOF after the last.
class Bases {
  public:
    explicit Bases(const std::string& command) : pipe_(command) {
        int c = std::fgetc(pipe_.stream);
        REQUIRE(c == '>');
        while (c != '\n' && c != EOF) {
            c = std::fgetc(pipe_.stream);
        }
    }
    int next() {
        int c = std::fgetc(pipe_.stream);
        while (c == '\n') {
            c = std::fgetc(pipe_.stream);
        }
        return c;
    }

  private:
    Pipe pipe_;
};

const std::string kReference = test::shared_data() + "/human_hg19/chr21.fa.gz";
const std::string kVariants = test::shared_data() + "/variants/PG_NA12878_chr21.vcf.gz";

/// False, with a loud line, where something is missing.
bool can_compare() {
    if (!exists(kReference) || !exists(kVariants)) {
        WARN("SKIP: " << kVariants << " or its reference is absent, nothing was compared");
        return false;
    }
    if (std::system("command -v bcftools >/dev/null") != 0) {
        WARN("SKIP: bcftools is absent, nothing was compared");
        return false;
    }
    return true;
}

/// Our haplotype, and the bases of the reference before insertions that follow another change at
/// once.
struct Ours {
    Ours(const std::string& path, ChooseAllele choose)
        : reference(IndexedFasta::open(kReference, {}, {})),
          variants(path),
          builder(reference, path) {
        const std::int64_t contig = reference.find("chr21").value();
        const std::int64_t length = reference.contigs().at(static_cast<std::size_t>(contig)).length;
        NextChange changes = changes_of(variants, builder, "chr21", std::move(choose), effects);
        source.emplace(reference, contig, Interval{0, length},
                       [this, changes, before = Interval{-1, -1}](Change& change) mutable {
                           if (!changes(change)) {
                               return false;
                           }
                           if (change.replaced == Interval{before.end, before.end}) {
                               before_insertion.insert(before.size() > 0 && !shrunk
                                                           ? before.end - 1
                                                           : before.begin - 1);
                           }
                           shrunk = change.size() < change.replaced.size();
                           before = change.replaced;
                           return true;
                       });
    }

    std::int64_t count(Effect effect) const { return effects.at(static_cast<std::size_t>(effect)); }

    IndexedFasta reference;
    VariantSource variants;
    HaplotypeBuilder builder;
    Effects effects{};
    std::set<std::int64_t> before_insertion;
    bool shrunk = false;  // by the last change
    std::optional<HaplotypeSource> source;
};

struct Difference {
    std::int64_t bases = 0;
    std::int64_t letters = 0;      // that differ
    std::int64_t unexplained = 0;  // of these, outside of before_insertion
    std::int64_t cases = 0;        // letters that differ in case alone
    bool same_length = false;
};

Difference compare(Ours& ours, Bases theirs) {
    Difference out;
    Segment segment;
    bool longer = false;
    while (ours.source->next(segment)) {
        for (const char base : segment.bases) {
            const int other = theirs.next();
            longer = longer || other == EOF;
            if (std::toupper(base) != std::toupper(other)) {
                const auto place = ours.source->lift().to_reference(out.bases);
                ++out.letters;
                out.unexplained += ours.before_insertion.count(place.position) > 0 ? 0 : 1;
            } else if (base != other) {
                ++out.cases;
            }
            ++out.bases;
        }
    }
    out.same_length = !longer && theirs.next() == EOF;
    return out;
}

std::string consensus(const std::string& options, const std::string& variants) {
    return concat("bcftools consensus ", options, " '", variants, "' 2>/dev/null");
}

/// Of the reference in upper case.
std::string upper_consensus(const std::string& options, const std::string& variants) {
    return concat("gzip -dc '", kReference, "' | sed '/^>/!s/.*/\\U&/' | ",
                  consensus(options, variants));
}

/// The variants once more, bgzip with an index, where every phased genotype has a phase set: one
/// for each `size` bases.
void write_phase_sets(const std::string& path, std::int64_t size) {
    Pipe in(concat("gzip -dc '", kVariants, "'"));
    BGZF* const out = bgzf_open(path.c_str(), "w");
    REQUIRE(out != nullptr);
    std::string line;
    for (int c = std::fgetc(in.stream); c != EOF; c = std::fgetc(in.stream)) {
        if (c != '\n') {
            line.push_back(static_cast<char>(c));
            continue;
        }
        if (line.front() != '#') {
            std::vector<std::string_view> columns = split(line, '\t');
            const std::int64_t set = std::stoll(std::string(columns.at(1))) / size + 1;
            const bool phased = columns.at(9).find('|') != std::string_view::npos;
            std::string changed(line, 0, static_cast<std::size_t>(columns[8].data() - line.data()));
            changed += concat(columns[8], ":PS\t", columns[9], ":",
                              phased ? concat(set) : std::string("."));
            line = changed;
        } else if (line.rfind("#CHROM", 0) == 0) {
            line = "##FORMAT=<ID=PS,Number=1,Type=Integer,Description=\"Phase set\">\n" + line;
        }
        line += '\n';
        REQUIRE(bgzf_write(out, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
        line.clear();
    }
    REQUIRE(bgzf_close(out) == 0);
    REQUIRE(tbx_index_build(path.c_str(), 0, &tbx_conf_vcf) == 0);
}

}  // namespace

TEST_CASE("both haplotypes of NA12878's chr21 are those of bcftools consensus", "[.slow]") {
    if (!can_compare()) {
        return;
    }
    for (const std::size_t haplotype : {0U, 1U}) {
        const std::string options = concat("-s NA12878 -H ", haplotype + 1);
        Ours ours(kVariants, haplotype_of_sample(0, haplotype));
        const Difference upper = compare(ours, Bases(upper_consensus(options, kVariants)));
        Ours again(kVariants, haplotype_of_sample(0, haplotype));
        const Difference masked =
            compare(again, Bases(consensus(concat(options, " -f '", kReference, "'"), kVariants)));
        std::printf(
            "haplotype %zu: %s bases, alleles applied %s, overlapping %s, symbolic %s; %s "
            "letters differ, on the soft-masked reference %s, and %s in case alone\n",
            haplotype + 1, format_count(upper.bases).c_str(),
            format_count(ours.count(Effect::applied)).c_str(),
            format_count(ours.count(Effect::overlap)).c_str(),
            format_count(ours.count(Effect::symbolic)).c_str(), format_count(upper.letters).c_str(),
            format_count(masked.letters).c_str(), format_count(masked.cases).c_str());
        CHECK(ours.count(Effect::applied) > 40000);
        CHECK(upper.same_length);
        CHECK(upper.letters == 0);
        // In lower case bcftools (1.16) writes the first base of REF over what is there where an
        // insertion follows another change, and gives all letters of an allele the case of the
        // first.
        CHECK(masked.same_length);
        CHECK(masked.unexplained == 0);
        CHECK(masked.letters <= 100);
        CHECK(masked.cases <= 1000);
    }
}

TEST_CASE("each phase set applied alone is what bcftools consensus makes of it", "[.slow]") {
    if (!can_compare()) {
        return;
    }
    const test::TempDir dir;
    const std::string variants = dir.file("sets.vcf.gz");
    constexpr std::int64_t size = 5'000'000;
    write_phase_sets(variants, size);
    std::int64_t applied = 0;
    for (int set = 1; set <= 10; ++set) {
        for (const std::size_t haplotype : {0U, 1U}) {
            Ours ours(variants, haplotype_of_sample(0, haplotype, concat(set)));
            const std::string options =
                concat("-s NA12878 -H ", haplotype + 1, " -i 'FMT/PS=", set, "'");
            const Difference difference = compare(ours, Bases(upper_consensus(options, variants)));
            CAPTURE(set, haplotype, difference.bases);
            CHECK(difference.same_length);
            CHECK(difference.letters == 0);
            applied += ours.count(Effect::applied);
        }
    }
    CHECK(applied > 80000);
}
