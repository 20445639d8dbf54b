#include "genomics_io/token_store.hpp"

#include "genomics_io/alphabet.hpp"
#include "genomics_io/sample_windows.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <map>

using namespace mambase;
using namespace mambase::io;

namespace {

const Tokenizer& dna() {
    return Tokenizer::named("dna");
}

std::string letters(std::span<const std::uint8_t> codes) {
    std::string text;
    for (const std::uint8_t code : codes) {
        text.push_back(dna().letter(code));
    }
    return text;
}

TokenStore store_of(const std::vector<test::Record>& records, std::int64_t gap) {
    const test::TempDir dir;
    write_text(dir.file("in.fa"), test::fasta_text(records));
    TokenStore store(dna(), gap);
    store.add(dir.file("in.fa"), {});
    return store;
}

}  // namespace

TEST_CASE("a store holds the codes of its files, and where the runs are") {
    const TokenStore store =
        store_of({{"a", "NNNNACGTNNacgtRYKMTNNNN"}, {"b", ""}, {"c", "NNNN"}, {"d", "NACN"}}, 4);
    REQUIRE(store.contigs().size() == 4);
    CHECK(store.total_bases() == 31);
    CHECK(store.find("d") == 3);
    CHECK(store.find("e") == std::nullopt);
    const StoredContig& a = store.contigs()[0];
    CHECK(letters(a.codes) == "NNNNACGTNNacgtNNNNTNNNN");
    CHECK(a.runs == std::vector<Interval>{{4, 14}, {18, 19}});
    CHECK(a.summary.acgt == 9);
    CHECK(a.summary.ambiguous == 4);
    CHECK(a.summary.soft_masked == 4);
    CHECK(a.summary.in_gaps == 12);
    CHECK(store.contigs()[1].runs.empty());
    CHECK(store.contigs()[2].runs.empty());
    CHECK(store.contigs()[3].runs == std::vector<Interval>{{0, 4}});
}

TEST_CASE("a store refuses what it cannot hold apart") {
    const test::TempDir dir;
    write_text(dir.file("a.fa"), ">x\nAC\n>y\nAC\n");
    write_text(dir.file("b.fa"), ">z\nAC\n>y\nAC\n");
    write_text(dir.file("c.fa"), ">p\nACDEF\n");
    TokenStore store(dna());
    store.add(dir.file("a.fa"), {});
    CHECK(test::error_of([&] { store.add(dir.file("b.fa"), {}); }) ==
          "format: " + dir.file("b.fa") + ": record 1 (y): the name 'y' is that of a record of " +
              dir.file("a.fa") + " already");
    CHECK(test::error_of([&] { store.add(dir.file("c.fa"), {}); }) ==
          "format: " + dir.file("c.fa") +
              ": record 0 (p): 'E' is not a nucleotide code (is this protein?), at p:4-4");
}

TEST_CASE("a store holds reads, whose names may come again") {
    const test::TempDir dir;
    write_text(dir.file("a.fq"), "@x\nAC\n+\nII\n@x\nACG\n+\nIII\n");
    TokenStore store(dna());
    store.add(dir.file("a.fq"), {});
    store.add(dir.file("a.fq"), {});
    REQUIRE(store.contigs().size() == 4);
    CHECK(store.find("x") == 0);
    CHECK(store.names()[3].length == 3);
}

TEST_CASE("sampled windows lie in one run and one interval, and every start comes up") {
    std::mt19937 random(1);
    const TokenStore store = store_of(
        {{"a", test::random_bases(random, 300, 10)}, {"b", test::random_bases(random, 200, 10)}},
        8);
    const std::int64_t n = 12;
    const std::vector<Region> intervals{{1, 50, 160}, {0, 20, 90}, {0, 80, 120}, {0, 120, 290}};
    // The second and third overlap and count as one; the fourth only touches.
    const std::vector<Region> joined{{0, 20, 120}, {0, 120, 290}, {1, 50, 160}};
    std::map<std::pair<std::int64_t, std::int64_t>, int> expected;
    for (const Region& interval : joined) {
        for (const Interval& run :
             store.contigs()[static_cast<std::size_t>(interval.contig)].runs) {
            for (std::int64_t p = std::max(run.begin, interval.begin);
                 p + n + 1 <= std::min(run.end, interval.end); ++p) {
                expected[{interval.contig, p}] = 0;
            }
        }
    }
    const SampleWindows windows(store, intervals, n);
    CHECK(windows.eligible_starts() == static_cast<std::int64_t>(expected.size()));
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(n) + 1);
    std::vector<std::uint8_t> again(codes.size());
    int reverse = 0;
    const int draws = 200 * static_cast<int>(expected.size());
    for (int i = 0; i < draws; ++i) {
        const auto step = static_cast<std::uint64_t>(i / 16);
        const auto lane = static_cast<std::uint64_t>(i % 16);
        const SampledWindow window = windows.draw(42, step, lane, true, codes);
        const auto found = expected.find({window.contig, window.start});
        REQUIRE(found != expected.end());
        ++found->second;
        std::string text = letters(codes);
        if (window.strand == Strand::reverse) {
            ++reverse;
            reverse_complement(text);
        }
        const StoredContig& contig = store.contigs()[static_cast<std::size_t>(window.contig)];
        REQUIRE(text ==
                letters(std::span(contig.codes)
                            .subspan(static_cast<std::size_t>(window.start), codes.size())));
        if (i % 50 == 0) {  // a draw depends on its arguments alone
            const SampledWindow same = windows.draw(42, step, lane, true, again);
            REQUIRE((same.start == window.start && again == codes));
            REQUIRE(windows.draw(42, step, lane, false, again).strand == Strand::forward);
        }
    }
    for (const auto& [start, count] : expected) {  // 200 on average, standard deviation 14
        CHECK(count > 120);
        CHECK(count < 280);
    }
    CHECK(std::abs(reverse - draws / 2) < draws / 20);
}

TEST_CASE("the window after a window begins where its inputs end") {
    const TokenStore store = store_of({{"a", "ACGTACGTACNNNNACGTACGTACGT"}, {"b", "ACGTACGT"}}, 4);
    const SampleWindows windows(store, {{0, 0, 26}, {1, 0, 8}}, 3);
    const auto start_after = [&](std::int64_t contig, std::int64_t start, Strand strand) {
        const auto next = windows.after({contig, start, strand});
        return next ? next->start : -1;
    };
    CHECK(start_after(0, 0, Strand::forward) == 3);
    CHECK(start_after(0, 3, Strand::forward) == 6);
    CHECK(start_after(0, 6, Strand::forward) == -1);  // 9 … 12 would reach into the gap
    CHECK(start_after(0, 4, Strand::forward) == -1);
    CHECK(start_after(0, 19, Strand::forward) == 22);
    CHECK(start_after(0, 22, Strand::forward) == -1);
    CHECK(start_after(0, 22, Strand::reverse) == 19);
    CHECK(start_after(0, 16, Strand::reverse) == -1);
    CHECK(start_after(0, 3, Strand::reverse) == 0);
    CHECK(start_after(1, 0, Strand::forward) == 3);
    CHECK(start_after(1, 0, Strand::reverse) == -1);
    CHECK(start_after(0, 12, Strand::forward) == -1);  // no window at all
    CHECK_FALSE(windows.after({-1, 0, Strand::forward}));
    // The next window's first input is the last target of the one before, on either strand.
    std::vector<std::uint8_t> codes(4);
    std::vector<std::uint8_t> next(4);
    for (const SampledWindow& window :
         {SampledWindow{0, 14, Strand::forward}, SampledWindow{0, 21, Strand::reverse}}) {
        windows.read(window, codes);
        windows.read(*windows.after(window), next);
        CHECK(codes.back() == next.front());
    }
}

TEST_CASE("a window needs its context and one base more") {
    const TokenStore store = store_of({{"a", "ACGTACGTNNNNACG"}}, 4);
    CHECK(SampleWindows(store, {{0, 0, 15}}, 7).eligible_starts() == 1);
    CHECK(test::error_of([&] {
              SampleWindows(store, {{0, 0, 15}}, 8);
          }) ==
          "usage: no stretch of the sequence holds a window of 8 bases and the one after it: the "
          "longest between gaps has 8; choose a --context below 8 or give more sequence");
    CHECK_THAT(test::error_of([&] { SampleWindows(store, {}, 8); }),
               Catch::StartsWith("usage: no stretch of the sequence holds"));
}
