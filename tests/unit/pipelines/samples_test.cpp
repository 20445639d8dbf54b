#include "pipelines/samples.hpp"

#include "tests/unit/pipelines/classify_lab.hpp"

#include <algorithm>
#include <array>

#include <catch2/catch.hpp>

namespace mambase::pipelines {

namespace {

using test::composed_bases;
using test::failure_of;

class Lab : public test::ClassifyLab {
  public:
    SampleSet read(const std::string& table, std::int64_t window = 50, std::int64_t gap = 1) {
        return {table, io::Tokenizer::named("dna"), window, gap, false, {}, runtime()};
    }
    std::string failure(const std::vector<std::string>& lines, std::int64_t window = 50) {
        const std::string path = table("t.tsv", lines);
        return failure_of([&] { read(path, window); });
    }
};

}  // namespace

TEST_CASE("samples: a contig is divided 80/10/10, with a window between the parts") {
    Lab lab;
    const SampleSet samples = lab.read(lab.file("samples.tsv"));
    CHECK(samples.labels() == std::vector<std::string>{"a", "b"});
    REQUIRE(samples.regions().size() == 6);
    CHECK(samples.regions()[0].bases == io::Region{0, 0, 9600});
    CHECK(samples.regions()[0].part == Part::train);
    CHECK(samples.regions()[1].bases == io::Region{0, 9650, 10'800});
    CHECK(samples.regions()[1].part == Part::valid);
    CHECK(samples.regions()[2].bases == io::Region{0, 10'850, 12'000});
    CHECK(samples.regions()[2].part == Part::test);
    CHECK(samples.windows(Part::test, 100).size() == 2 * 23);
    CHECK(samples.windows(Part::test, 5).size() == 2 * 5);
    // One too short for that is all for training.
    const SampleSet coarse = lab.read(lab.file("samples.tsv"), 1000);
    CHECK(coarse.regions().size() == 2);
    CHECK(coarse.windows(Part::valid, 100).empty());
}

TEST_CASE("samples: regions, BED and splits of a table, with or without a header") {
    Lab lab;
    const std::string a = lab.file("a.fa");
    const std::string b = lab.file("b.fa");
    write_text(lab.file("b.bed"), "contig\t0\t100\ncontig\t200\t300\n");
    const SampleSet samples = lab.read(lab.table(
        "t.tsv", {"# a comment", "split\tlabel\tpath\tbed", "train\ta\t" + a + "\tcontig:1-1,000",
                  "test\ta\t" + a + "\tcontig:1001-2000", "",
                  concat("train\tb\t", b, "\t", lab.file("b.bed"))}));
    REQUIRE(samples.regions().size() == 4);
    CHECK(samples.regions()[0].bases == io::Region{0, 0, 1000});
    CHECK(samples.regions()[1].part == Part::test);
    CHECK(samples.regions()[3].bases == io::Region{0, 200, 300});
    const SampleSet plain = lab.read(
        lab.table("u.tsv", {a + "\ta\tcontig:1-1,000\ttrain", a + "\ta\tcontig:1001-2000\ttest",
                            concat(b, "\tb\t", lab.file("b.bed"), "\ttrain")}));
    CHECK(plain.digest() == samples.digest());
}

TEST_CASE("samples: what a table may not say") {
    Lab lab;
    const std::string a = lab.file("a.fa");
    const std::string b = lab.file("b.fa");
    const std::string table = lab.file("t.tsv");
    CHECK(lab.failure({"path\tlabel\tcolour", a + "\ta\tred"}) ==
          concat("format: ", table,
                 ": line 1: column 'colour' is unknown or there twice; the columns are path, label "
                 "and optionally region and split"));
    CHECK(lab.failure({a}) ==
          concat("format: ", table,
                 ": line 1: expected path, label, and optionally region and split, parted by tabs; "
                 "found 1 field(s)"));
    CHECK(lab.failure({a + "\ta\t\tlearn"}) ==
          concat("format: ", table, ": line 1: 'learn' is not a split: train, valid, test"));
    CHECK(lab.failure({a + "\ta", b + "\ta"}).find("2 to 256 labels") != std::string::npos);
    CHECK(lab.failure({a + "\ta\t\ttrain", b + "\tb"}).find("some have none") != std::string::npos);
    CHECK(lab.failure({a + "\ta\tchr9", b + "\tb"}).find("line 1") != std::string::npos);
    CHECK(lab.failure({"none.fa\ta", b + "\tb"}).find("none.fa") != std::string::npos);
}

TEST_CASE("samples: parts that overlap are refused, under whatever name the bases come") {
    Lab lab;
    const std::string a = lab.file("a.fa");
    const std::string b = lab.file("b.fa");
    const std::string overlap = lab.failure(
        {a + "\ta\tcontig:1-5000\ttrain", a + "\ta\tcontig:5000-9000\ttest", b + "\tb\t\ttrain"});
    CHECK(overlap.find("the parts overlap") != std::string::npos);
    CHECK(overlap.find("contig:5000-9000 (a, test)") != std::string::npos);
    CHECK(lab.failure({a + "\ta\tcontig:1-5000\ttrain", a + "\ta\tcontig:5001-9000\ttest",
                       b + "\tb\t\ttrain"}) == "");
    CHECK(lab.failure({a + "\ta\tcontig:1-5000\ttrain", a + "\tb\tcontig:5000-9000\ttrain"})
              .find("the same sequence has two labels") != std::string::npos);
    // The same sequence in another file, under another name, in lower case.
    std::string lower = composed_bases(12'000, 0.3, 1);
    for (char& letter : lower) {
        letter = static_cast<char>(letter | 0x20);
    }
    const std::string copy = lab.fasta("copy.fa", {"other", lower});
    CHECK(lab.failure({a + "\ta\t\ttrain", copy + "\ta\t\ttest", b + "\tb\t\ttrain"})
              .find("the parts overlap") != std::string::npos);
}

TEST_CASE("samples: blanks around a field are not of it") {
    Lab lab;
    CHECK(lab.failure({lab.file("a.fa") + "\t a b ", lab.file("b.fa") + "\ta b"})
              .find("here are 1") != std::string::npos);
}

TEST_CASE("samples: draws are a function of seed, step and lane, uniform over labels and contigs") {
    Lab lab;
    const std::string a = lab.fasta(
        "two.fa", {"long", composed_bases(5000, 0.3, 7), "short", "GGGGGGGGGGCCCCCCCCCC"});
    const std::string b = lab.fasta(
        "gaps.fa", {"contig", composed_bases(500, 0.7, 8) + "N" + composed_bases(15, 0.7, 9)});
    const SampleSet samples =
        lab.read(lab.table("t.tsv", {a + "\ta\t\ttrain", b + "\tb\t\ttrain"}), 20);
    const LabelledSampler sampler(samples);
    CHECK(sampler.windows(0) == 4981 + 1);
    CHECK(sampler.windows(1) == 481);
    std::array<int, 2> labels{};
    int from_short = 0;
    std::vector<std::uint8_t> codes(20);
    std::vector<std::uint8_t> again(20);
    for (std::uint64_t lane = 0; lane < 2000; ++lane) {
        const std::int64_t label = sampler.draw(3, 1, lane, true, codes);
        ++labels[static_cast<std::size_t>(label)];
        from_short += std::count(codes.begin(), codes.begin() + 10, codes[0]) == 10 ? 1 : 0;
        for (const std::uint8_t code : codes) {
            REQUIRE(samples.tokenizer().is_acgt(code));
        }
        CHECK(sampler.draw(3, 1, lane, true, again) == label);
        REQUIRE(again == codes);
    }
    CHECK(labels[0] == Approx(1000).margin(100));
    CHECK(from_short == Approx(500).margin(100));  // a quarter, though it has one window
    CHECK(failure_of([&] {
              LabelledSampler(lab.read(lab.file("t.tsv"), 600));
          }).find("label 'b' has no stretch of 600 bases without a gap") != std::string::npos);
}

TEST_CASE("samples: with a longer gap windows go over shorter stretches of N") {
    Lab lab;
    const std::string joined =
        composed_bases(40, 0.5, 1) + "NNNNNNNNNN" + composed_bases(40, 0.5, 2);
    const std::string table = lab.table(
        "t.tsv", {concat(lab.fasta("n.fa", {"n", joined}), "\ta\t\ttest"),
                  concat(lab.fasta("p.fa", {"p", composed_bases(90, 0.5, 3)}), "\tb\t\ttest")});
    CHECK(lab.read(table, 30, 1).windows(Part::test, 9).size() == 2 + 3);
    CHECK(lab.read(table, 30, 10).windows(Part::test, 9).size() == 2 + 3);
    CHECK(lab.read(table, 30, 11).windows(Part::test, 9).size() == 3 + 3);
    CHECK(failure_of([&] { lab.read(table, 30, 31); }) ==
          "usage: a gap is from 1 base to a window of 30, not 31");
}

}  // namespace mambase::pipelines
