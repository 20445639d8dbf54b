// Our bigWig opened by libBigWig's own reader; compiled where that is installed.
#include "genomics_io/track_sink.hpp"
#include "tests/support/temp_dir.hpp"

#include <bigWig.h>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;

TEST_CASE("libBigWig reads our bigWig: contigs, values, and means of any stretch") {
    const test::TempDir dir;
    const std::string path = dir.file("out.bw");
    const auto sink = io::open_track(path, "logp", 1, 1);
    constexpr std::size_t length = 100'000;
    std::vector<float> values(length);
    for (std::size_t i = 0; i < length; ++i) {
        values[i] = -static_cast<float>(i % 977) / 7.0F;
    }
    sink->contig("second", 50);
    sink->values(3, std::vector<float>{1.0F, 2.0F});
    sink->contig("first", length);
    sink->values(0, values);
    sink->finish();

    const std::unique_ptr<bigWigFile_t, void (*)(bigWigFile_t*)> file(
        bwOpen(path.c_str(), nullptr, "r"), bwClose);
    REQUIRE(file != nullptr);
    REQUIRE(file->cl->nKeys == 2);
    REQUIRE(std::string(file->cl->chrom[0]) == "first");
    REQUIRE(file->cl->len[0] == length);
    REQUIRE(file->hdr->nBasesCovered == length + 2);
    bwOverlappingIntervals_t* all = bwGetValues(file.get(), "first", 0, length, 0);
    REQUIRE(all != nullptr);
    REQUIRE(all->l == length);
    REQUIRE(std::vector<float>(all->value, all->value + length) == values);
    bwDestroyOverlappingIntervals(all);
    all = bwGetOverlappingIntervals(file.get(), "second", 4, 50);
    REQUIRE(all != nullptr);
    REQUIRE(all->l == 1);
    REQUIRE(all->start[0] == 4);
    REQUIRE(all->value[0] == 2.0F);
    bwDestroyOverlappingIntervals(all);
    double total = 0.0;
    for (std::size_t i = 16'384; i < 81'920; ++i) {
        total += static_cast<double>(values[i]);
    }
    double* const from_summaries = bwStats(file.get(), "first", 16'384, 81'920, 1, mean);
    REQUIRE(from_summaries != nullptr);
    CHECK(*from_summaries == Approx(total / 65'536));
    std::free(from_summaries);
}
