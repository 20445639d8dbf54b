#include "genomics_io/track_sink.hpp"

#include "base/text.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/bigwig_reader.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <htslib/kstring.h>
#include <htslib/tbx.h>

using namespace mambase;
using namespace mambase::io;
using mambase::test::BigWigContents;
using mambase::test::error_of;
using Value = BigWigContents::Value;

namespace {

struct Contig {
    std::string name;
    std::uint32_t length;
};

/// Values of some contigs at bins of `width`, runs of many lengths with holes between.
std::vector<Value> random_values(const std::vector<Contig>& contigs,
                                 std::uint32_t width,
                                 std::uint32_t seed) {
    std::mt19937 engine(seed);
    const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
    std::vector<Value> out;
    for (const Contig& contig : contigs) {
        std::uint32_t begin = 0;
        while (begin < contig.length) {
            const std::uint32_t run = 1 + random() % (random() % 3 == 0 ? 9000 : 30);
            for (std::uint32_t i = 0; i < run && begin < contig.length; ++i, begin += width) {
                const float value = -static_cast<float>(random() % 1'000'000) / 3e5F;
                out.push_back({contig.name, begin, std::min(begin + width, contig.length), value});
            }
            begin += width * (random() % 40);
        }
    }
    return out;
}

/// In calls of random sizes.
void write(TrackSink& sink,
           const std::vector<Contig>& contigs,
           const std::vector<Value>& values,
           std::uint32_t seed) {
    std::mt19937 random(seed);
    std::size_t next = 0;
    for (const Contig& contig : contigs) {
        sink.contig(contig.name, contig.length);
        while (next < values.size() && values[next].contig == contig.name) {
            const std::uint32_t begin = values[next].begin;
            std::vector<float> run;
            const std::size_t most = 1 + random() % 20'000;
            std::uint32_t end = begin;
            while (next < values.size() && run.size() < most &&
                   values[next].contig == contig.name && values[next].begin == end) {
                run.push_back(values[next].value);
                end = values[next].end;
                ++next;
            }
            sink.values(begin, run);
        }
    }
}

std::string text_of(const std::vector<Value>& values) {
    std::string out;
    for (const Value& value : values) {
        char digits[32];
        const auto end = std::to_chars(digits, digits + sizeof digits, value.value).ptr;
        out += concat(value.contig, "\t", value.begin, "\t", value.end, "\t",
                      std::string_view(digits, static_cast<std::size_t>(end - digits)), "\n");
    }
    return out;
}

std::string unpacked(const std::string& path) {
    BGZF* const file = bgzf_open(path.c_str(), "r");
    REQUIRE(file != nullptr);
    REQUIRE(bgzf_compression(file) == 2);
    std::string out(std::size_t{1} << 24, '\0');
    const ssize_t n = bgzf_read(file, out.data(), out.size());
    REQUIRE(n >= 0);
    out.resize(static_cast<std::size_t>(n));
    REQUIRE(bgzf_check_EOF(file) == 1);
    REQUIRE(bgzf_close(file) == 0);
    return out;
}

/// Lines of a bedGraph through its index.
std::string lines_in(const std::string& path, const std::string& region) {
    const std::unique_ptr<htsFile, int (*)(htsFile*)> file(hts_open(path.c_str(), "r"), hts_close);
    const std::unique_ptr<tbx_t, void (*)(tbx_t*)> index(tbx_index_load(path.c_str()), tbx_destroy);
    REQUIRE(file != nullptr);
    REQUIRE(index != nullptr);
    hts_itr_t* const iterator = tbx_itr_querys(index.get(), region.c_str());
    REQUIRE(iterator != nullptr);
    kstring_t line = KS_INITIALIZE;
    std::string out;
    while (tbx_itr_next(file.get(), index.get(), iterator, &line) >= 0) {
        out.append(line.s, line.l).push_back('\n');
    }
    ks_free(&line);
    tbx_itr_destroy(iterator);
    return out;
}

const std::vector<Contig> kContigs{{"chr2", 70'001}, {"chr10", 200'003}, {"empty", 0}, {"a", 31}};

}  // namespace

TEST_CASE("a track's name says its format") {
    CHECK(track_format("x.tsv") == TrackFormat::tsv);
    CHECK(track_format("-") == TrackFormat::tsv);
    CHECK(track_format("a/b.bedgraph.gz") == TrackFormat::bedgraph);
    CHECK(track_format("b.bigwig") == TrackFormat::bigwig);
    CHECK(track_stem("a.b/x.y.bedgraph.gz") == "a.b/x.y");
    CHECK(track_stem("x.bw") == "x");
    CHECK_THAT(error_of([] { track_format("x.wig"); }),
               Catch::StartsWith("usage: the output's name says its format: it ends in .bw"));
}

TEST_CASE("tracks as text: lines as they are, bgzip the same, its bytes whatever the threads") {
    const test::TempDir dir;
    const std::uint32_t width = GENERATE(1U, 10U);
    const std::vector<Value> values = random_values(kContigs, width, 5);
    const std::string body = text_of(values);
    for (const std::string ending : {".tsv", ".tsv.gz", ".bedgraph", ".bedgraph.gz"}) {
        const std::string path = dir.file("out" + ending);
        std::string bytes;
        for (const int threads : {1, 4}) {
            const auto sink = open_track(path, "logp", width, threads);
            write(*sink, kContigs, values, static_cast<std::uint32_t>(threads));
            if (threads == 1) {
                CHECK_FALSE(exists(path));
            }
            sink->finish();
            REQUIRE((bytes.empty() || bytes == read_text(path)));
            bytes = read_text(path);
        }
        const std::string text = ending.ends_with(".gz") ? unpacked(path) : bytes;
        REQUIRE(text == (ending.starts_with(".tsv") ? "contig\tstart\tend\tlogp\n" : "") + body);
        REQUIRE(exists(path + ".tbi") == (ending == ".bedgraph.gz"));
    }
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
        files += entry.is_regular_file() ? 1 : 0;
    }
    CHECK(files == 5);
}

TEST_CASE("a bedGraph is read through its index, however long the contig") {
    const test::TempDir dir;
    const std::string path = dir.file("out.bedgraph.gz");
    const bool is_long = GENERATE(false, true);
    const std::int64_t length = is_long ? std::int64_t{3} << 29 : 100'000;
    const std::string other = path + (is_long ? ".tbi" : ".csi");
    write_text(other, "of an earlier run");
    const auto sink = open_track(path, "logp", 1, 1);
    sink->contig("chrU", length);
    const std::vector<float> run{-1.5F, -0.25F, -3.0F};
    for (const std::int64_t begin : {std::int64_t{0}, length / 2, length - 3}) {
        sink->values(begin, run);
    }
    sink->finish();
    CHECK(exists(path + (is_long ? ".csi" : ".tbi")));
    CHECK_FALSE(exists(other));
    const std::int64_t at = length - 3;
    CHECK(
        lines_in(path, concat("chrU:", at + 2, "-", length)) ==
        concat("chrU\t", at + 1, "\t", at + 2, "\t-0.25\nchrU\t", at + 2, "\t", at + 3, "\t-3\n"));
    CHECK(lines_in(path, concat("chrU:", length / 2 + 1, "-", length / 2 + 1)) ==
          concat("chrU\t", length / 2, "\t", length / 2 + 1, "\t-1.5\n"));
}

TEST_CASE("a bigWig has the values, whatever the calls and threads, and summaries that add up") {
    const test::TempDir dir;
    const std::uint32_t width = GENERATE(1U, 10U, 1000U);
    const std::string path = dir.file("out.bw");
    const std::vector<Value> values = random_values(kContigs, width, 6);
    std::string bytes;
    for (const std::uint32_t seed : {1U, 2U, 3U}) {
        const auto sink = open_track(path, "logp", width, static_cast<int>(seed));
        write(*sink, kContigs, values, seed);
        sink->finish();
        REQUIRE((bytes.empty() || bytes == read_text(path)));
        bytes = read_text(path);
    }
    const test::BigWigReader reader(bytes);
    const BigWigContents& contents = reader.contents();
    REQUIRE(contents.contigs == std::vector<std::pair<std::string, std::uint32_t>>{
                                    {"a", 31}, {"chr10", 200'003}, {"chr2", 70'001}, {"empty", 0}});
    std::vector<Value> sorted = values;
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const Value& a, const Value& b) { return a.contig < b.contig; });
    REQUIRE(contents.values == sorted);

    std::uint64_t covered = 0;
    double sum = 0.0;
    for (const Value& value : values) {
        covered += value.end - value.begin;
        sum += static_cast<double>(value.value) * (value.end - value.begin);
    }
    CHECK(contents.bases == covered);
    CHECK(contents.sum == Approx(sum));
    CHECK(contents.most <= 0.0);
    CHECK(contents.least < -3.0);
    REQUIRE(contents.summaries.size() == (width == 1 ? 7 : width == 10 ? 6 : 2));
    for (const auto& [reduction, summaries] : contents.summaries) {
        CAPTURE(reduction);
        std::map<std::pair<std::string, std::uint32_t>, BigWigContents::Summary> expected;
        for (const Value& value : values) {
            auto [at, fresh] = expected.try_emplace({value.contig, value.begin / reduction});
            at->second.bases += value.end - value.begin;
            at->second.least = fresh ? value.value : std::min(at->second.least, value.value);
            at->second.most = fresh ? value.value : std::max(at->second.most, value.value);
            at->second.sum += value.value * static_cast<float>(value.end - value.begin);
        }
        REQUIRE(summaries.size() == expected.size());
        for (const BigWigContents::Summary& summary : summaries) {
            const auto& contig = contents.contigs.at(summary.contig);
            const auto& of = expected.at({contig.first, summary.begin / reduction});
            REQUIRE(summary.begin % reduction == 0);
            REQUIRE(summary.end == std::min(summary.begin + reduction, contig.second));
            REQUIRE(summary.bases == of.bases);
            REQUIRE(summary.least == of.least);
            REQUIRE(summary.most == of.most);
            REQUIRE(summary.sum == Approx(of.sum).epsilon(1e-4));
        }
    }
}

TEST_CASE("a bigWig of many contigs, and of none") {
    const test::TempDir dir;
    const std::string path = dir.file("out.bw");
    const int contigs = GENERATE(0, 1, 256, 257, 66'000);
    const auto sink = open_track(path, "logp", 1, 1);
    for (int i = 0; i < contigs; ++i) {
        sink->contig(concat("scaffold_", i), 100 + i);
        sink->values(i % 50, std::vector<float>{static_cast<float>(i)});
    }
    sink->finish();
    const std::string bytes = read_text(path);
    const test::BigWigReader reader(bytes);
    const BigWigContents& contents = reader.contents();
    REQUIRE(contents.contigs.size() == static_cast<std::size_t>(contigs));
    REQUIRE(contents.values.size() == static_cast<std::size_t>(contigs));
    for (const Value& value : contents.values) {
        const int i = std::stoi(value.contig.substr(9));
        REQUIRE(value.value == static_cast<float>(i));
        REQUIRE(value.begin == static_cast<std::uint32_t>(i % 50));
    }
    REQUIRE(std::isfinite(contents.least + contents.most));
}

TEST_CASE("tracks refuse what their format cannot tell, and leave nothing") {
    const test::TempDir dir;
    for (const std::string ending : {".bedgraph", ".bedgraph.gz", ".bw"}) {
        const std::string path = dir.file("out" + ending);
        const auto sink = open_track(path, "logp", 1, 1);
        sink->contig("x", 10);
        CHECK_THAT(error_of([&] { sink->contig("x", 20); }),
                   Catch::StartsWith("usage: " + path + ": two sequences are named x"));
    }
    const auto table = open_track(dir.file("out.tsv"), "logp", 1, 1);
    table->contig("x", 10);
    table->contig("x", 10);
    CHECK_THAT(error_of([&] { table->contig("x\ty", 10); }),
               Catch::EndsWith("a field of a table holds a tab or a line break: 'x\ty'"));
    const auto bigwig = open_track(dir.file("long.bw"), "logp", 1, 1);
    CHECK_THAT(error_of([&] { bigwig->contig("x", std::int64_t{1} << 32); }),
               Catch::EndsWith("a bigWig cannot address more than 4,294,967,295"));
    for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
        CHECK(entry.path().filename().string().find(".tmp.") != std::string::npos);
    }
}
