#include "pipelines/training_data.hpp"

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
