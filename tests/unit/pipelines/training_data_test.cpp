#include "pipelines/training_data.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "genomics_io/tokenizer.hpp"
#include "tests/support/synthetic_fasta.hpp"
#include "tests/support/temp_dir.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::fasta_record;
using mambase::test::markov_bases;

namespace {

io::TokenStore store_of(const std::string& fasta) {
    const test::TempDir dir;
    const std::string path = dir.file("in.fa");
    write_text(path, fasta);
    io::TokenStore store(io::Tokenizer::named("dna"));
    store.add(path, {});
    return store;
}

}  // namespace

TEST_CASE("The end of every contig over 1 Mb is held out", "[training_data]") {
    const auto store = store_of(fasta_record("long", markov_bases(1'200'000, 1)) +
                                fasta_record("short", markov_bases(900'000, 2)) +
                                fasta_record("longer", markov_bases(1'400'001, 3)));
    const DataSplit split = split_data(store, 1000);
    REQUIRE(split.train.size() == 3);
    CHECK(split.train[0] == io::Region{0, 0, 1'140'000 - 1000});
    CHECK(split.train[1] == io::Region{1, 0, 900'000});
    CHECK(split.train[2] == io::Region{2, 0, 1'400'001 - 70'001 - 1000});
    // 60,000 bases hold 59 windows of 1,001 end to end, 70,001 hold 70.
    REQUIRE(split.valid.size() == 59 + 70);
    CHECK(split.valid.front() == io::Region{0, 1'140'000, 1'141'001});
    CHECK(split.valid[1] == io::Region{0, 1'141'000, 1'142'001});
    CHECK(split.valid.back() == io::Region{2, 1'399'000, 1'400'001});
}

TEST_CASE("Without a long contig the end of the longest is held out", "[training_data]") {
    const auto store = store_of(fasta_record("a", markov_bases(10'000, 1)) +
                                fasta_record("b", markov_bases(40'000, 2)));
    const DataSplit split = split_data(store, 100);
    CHECK(split.train[0] == io::Region{0, 0, 10'000});
    CHECK(split.train[1] == io::Region{1, 0, 38'000 - 100});
    CHECK(split.valid.size() == 19);
}

TEST_CASE("Under ten windows nothing is held out", "[training_data]") {
    const auto store = store_of(fasta_record("a", markov_bases(10'000, 1)));
    CHECK(split_data(store, 49).valid.size() == 10);
    const DataSplit split = split_data(store, 50);
    CHECK(split.valid.empty());
    CHECK(split.train[0] == io::Region{0, 0, 10'000});
}

TEST_CASE("Validation windows keep to runs and have something to predict", "[training_data]") {
    std::string bases = markov_bases(100'000, 1);
    bases.replace(96'050, 1500, 1500, 'N');  // a gap
    bases.replace(98'000, 250, 250, 'N');    // not one, but two windows of N
    const auto store = store_of(fasta_record("a", bases));
    const DataSplit split = split_data(store, 100);
    for (const io::Region& window : split.valid) {
        CHECK((window.end <= 96'050 || window.begin >= 97'550));
        CHECK(window.end - window.begin == 101);
        CHECK_FALSE((window.begin >= 98'000 && window.end <= 98'250));
    }
    CHECK(split.valid.size() == 10 + 24 - 1);
}

TEST_CASE("Thinning takes windows evenly", "[training_data]") {
    std::vector<io::Region> windows;
    for (std::int64_t i = 0; i < 10; ++i) {
        windows.push_back({0, i, i + 1});
    }
    CHECK(thin_out(windows, 10) == windows);
    CHECK(thin_out(windows, 99) == windows);
    const auto four = thin_out(windows, 4);
    REQUIRE(four.size() == 4);
    CHECK(four[0].begin == 0);
    CHECK(four[1].begin == 2);
    CHECK(four[2].begin == 5);
    CHECK(four[3].begin == 7);
}

TEST_CASE("The digest is of names and bases, whatever the lines and files", "[training_data]") {
    const std::string digest = data_digest(store_of(">a\nACGTACGT\n>b\nGGCC\n"));
    CHECK(digest.size() == 64);
    CHECK(data_digest(store_of(">a x y\nACG\nTACGT\n\n>b\r\nGGCC")) == digest);
    CHECK(data_digest(store_of(">a\nACGTACGTG\n>b\nGCC\n")) != digest);
    CHECK(data_digest(store_of(">a\nACGTACGt\n>b\nGGCC\n")) != digest);
    CHECK(data_digest(store_of(">a\nACGTACGT\n>c\nGGCC\n")) != digest);
    CHECK(data_digest(store_of(">b\nGGCC\n>a\nACGTACGT\n")) != digest);
}

namespace {

std::string split_error(const io::TokenStore& store,
                        std::int64_t context,
                        const GivenRegions& given) {
    try {
        split_data(store, context, given);
    } catch (const Error& error) {
        return error.what();
    }
    return "no error";
}

}  // namespace

TEST_CASE("Regions to validate on are trained on by nobody", "[training_data]") {
    const auto store = store_of(fasta_record("a", markov_bases(10'000, 1)) +
                                fasta_record("b", markov_bases(40'000, 2)));
    const DataSplit split = split_data(store, 100, {{}, {{0, 2000, 3000}, {1, 0, 500}}});
    CHECK(split.train ==
          std::vector<io::Region>{{0, 0, 1900}, {0, 3100, 10'000}, {1, 600, 40'000}});
    CHECK(split.held_out == std::vector<io::Region>{{0, 2000, 3000}, {1, 0, 500}});
    CHECK(split.valid.size() == 9 + 4);  // fewer than ten in all are fine where they are asked for
    CHECK(split_data(store, 100, {{}, {{1, 0, 101}}}).valid.size() == 1);
    CHECK(split_error(store, 100, {{}, {{1, 0, 100}}}).find("hold no window of 100 bases") !=
          std::string::npos);
}

TEST_CASE("Of regions to train on, those at the ends of contigs are held out", "[training_data]") {
    const auto store = store_of(fasta_record("a", markov_bases(10'000, 1)) +
                                fasta_record("b", markov_bases(40'000, 2)) +
                                fasta_record("c", markov_bases(60'000, 3)));
    // b is the longest contig that is trained on; its last 5 % begin at 38,000.
    const GivenRegions given{{{0, 0, 10'000}, {1, 1000, 5000}, {1, 37'000, 39'500}}, {}};
    const DataSplit split = split_data(store, 100, given);
    CHECK(split.train ==
          std::vector<io::Region>{{0, 0, 10'000}, {1, 1000, 5000}, {1, 37'000, 37'900}});
    CHECK(split.held_out == std::vector<io::Region>{{1, 38'000, 39'500}});
    CHECK(split.valid.size() == 14);
}

TEST_CASE("Where both are given they are taken as they are, and may not overlap",
          "[training_data]") {
    const auto store = store_of(fasta_record("a", markov_bases(10'000, 1)) +
                                fasta_record("b", markov_bases(40'000, 2)));
    const DataSplit split = split_data(store, 100, {{{0, 0, 5000}}, {{0, 5000, 7000}}});
    CHECK(split.train == std::vector<io::Region>{{0, 0, 5000}});
    CHECK(split.held_out == std::vector<io::Region>{{0, 5000, 7000}});
    const std::string text =
        split_error(store, 100, {{{0, 0, 5000}, {1, 0, 9000}}, {{0, 4990, 7000}, {1, 10, 20}}});
    INFO(text);
    CHECK(text.find("share 20 bases, the first of them a:4991-5000") != std::string::npos);
}

TEST_CASE("Regions come from BED and by name", "[training_data]") {
    const test::TempDir dir;
    const auto store =
        store_of(fasta_record("a", markov_bases(300, 1)) + fasta_record("b", markov_bases(400, 2)) +
                 fasta_record("c:1-2", markov_bases(500, 3)));
    write_text(dir.file("x.bed"), "b\t100\t200\nb\t150\t250\na\t5\t10\nb\t250\t260\n");
    const std::vector<io::Region> regions = read_regions(store, dir.file("x.bed"), {"c:1-2,a"});
    CHECK(regions ==
          std::vector<io::Region>{{0, 0, 300}, {1, 100, 250}, {1, 250, 260}, {2, 0, 500}});
    CHECK(count_short(regions, 100) == 1);
    CHECK(describe_regions(store, {}) == "default");
    CHECK(describe_regions(store, regions).find("960 bases, ") == 0);
    CHECK(describe_regions(store, regions) != describe_regions(store, {{1, 0, 400}}));
    CHECK_THROWS_WITH(read_regions(store, "", {"a,d"}), Catch::Contains("'d'"));
    write_text(dir.file("none.bed"), "# nothing\n");
    CHECK_THROWS_WITH(read_regions(store, dir.file("none.bed"), {}),
                      Catch::Contains("no intervals"));
}
