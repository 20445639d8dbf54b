#include "genomics_io/region.hpp"

#include "genomics_io/bed.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

using namespace mambase;
using namespace mambase::io;

namespace {

const std::vector<Contig>& contigs() {
    static const std::vector<Contig> list{{"chr1", 5000},    {"2", 100},  {"HLA:1", 50},
                                          {"HLA:1:3-4", 60}, {"HLA", 70}, {"empty", 0}};
    return list;
}

std::string parsing(std::string_view text) {
    return test::error_of([&] { parse_region(text, contigs()); });
}

}  // namespace

TEST_CASE("regions mean what they mean to samtools") {
    const auto parse = [](std::string_view text) { return parse_region(text, contigs()); };
    CHECK(parse("chr1") == Region{0, 0, 5000});
    CHECK(parse("chr1:5") == Region{0, 4, 5000});
    CHECK(parse("chr1:5-") == Region{0, 4, 5000});
    CHECK(parse("chr1:-9") == Region{0, 0, 9});
    CHECK(parse("chr1:1,001-2,000") == Region{0, 1000, 2000});
    CHECK(parse("chr1:7-7") == Region{0, 6, 7});
    CHECK(parse("chr1:4,990-9,999") == Region{0, 4989, 5000});
    CHECK(parse("chr1:1-99999999999999999999999") == Region{0, 0, 5000});
    CHECK(parse("2") == Region{1, 0, 100});
    CHECK(parse("empty") == Region{5, 0, 0});
}

TEST_CASE("names may contain a colon: the longest that is known wins, braces say it outright") {
    const auto parse = [](std::string_view text) { return parse_region(text, contigs()); };
    CHECK(parse("HLA:1") == Region{2, 0, 50});
    CHECK(parse("HLA:1:2-3") == Region{2, 1, 3});
    CHECK(parse("HLA:1:3-4") == Region{3, 0, 60});
    CHECK(parse("{HLA:1}:3-4") == Region{2, 2, 4});
    CHECK(parse("{HLA}:1-3") == Region{4, 0, 3});
    CHECK(parse("{HLA:1}") == Region{2, 0, 50});
}

TEST_CASE("a written region reads back the same") {
    CHECK(format_region("chr1", 0, 10) == "chr1:1-10");
    CHECK(format_region("HLA:1", 2, 4) == "{HLA:1}:3-4");
    for (std::int64_t i = 0; i < 5; ++i) {
        const Contig& contig = contigs()[static_cast<std::size_t>(i)];
        CHECK(parse_region(format_region(contig.name, 3, 20), contigs()) == Region{i, 3, 20});
    }
}

TEST_CASE("bad regions are one clear line") {
    CHECK(parsing("chr3") == "not_found: region 'chr3': there is no contig 'chr3'");
    CHECK(parsing("1:5-6") ==
          "not_found: region '1:5-6': there is no contig '1'; the file has 'chr1'");
    CHECK(parsing("chr2") ==
          "not_found: region 'chr2': there is no contig 'chr2'; the file has '2'");
    CHECK(parsing("") == "not_found: region '': there is no contig ''");
    CHECK(parsing("chr1:0-5") == "usage: region 'chr1:0-5': positions count from 1");
    CHECK(parsing("chr1:9-5") == "usage: region 'chr1:9-5': it ends before it begins");
    CHECK(parsing("chr1:5001") ==
          "usage: region 'chr1:5001': it begins past the end of the contig, which has 5,000 bases");
    for (const std::string range : {"", "-", "x", "5-x", "1-2-3", "5 - 6", ",5", "1e3"}) {
        CHECK(parsing("chr1:" + range) ==
              "usage: region 'chr1:" + range +
                  "': a range like 1,001-2,000 is expected after the last ':'");
    }
    CHECK(parsing("{chr1}5") == "usage: region '{chr1}5': after '}' comes ':' or nothing");
    CHECK(parsing("{chr1:5") == "not_found: region '{chr1:5': there is no contig '{chr1'");
}

TEST_CASE("BED is read as it is: 0-based, plain or packed, headers skipped") {
    const test::TempDir dir;
    const std::string text =
        "# comment\nbrowser position chr1\ntrack name=x\nchr1\t10\t20\tname\t0\t+\n\n2 0 100\r\n"
        "chr1\t4999\t6000\nchr1\t10\t20";
    for (const char* const mode : {"wu", "wg", "w"}) {
        test::write_as(dir.file("in.bed"), text, mode);
        CHECK(read_bed(dir.file("in.bed"), contigs()) ==
              std::vector<Region>{{0, 10, 20}, {1, 0, 100}, {0, 4999, 5000}, {0, 10, 20}});
    }
}

TEST_CASE("intervals of BED have the names of its fourth column, or their own") {
    const test::TempDir dir;
    write_text(dir.file("in.bed"),
               "chr1\t10\t20\tgene A\t0\nchr1\t10\t20\t.\n2 0 500\nchr1\t1\t2\t\n");
    std::vector<std::string> names;
    for (const NamedRegion& named : read_named_bed(dir.file("in.bed"), contigs())) {
        names.push_back(named.name);
    }
    CHECK(names == std::vector<std::string>{"gene A", "chr1:11-20", "2:1-100", "chr1:2-2"});
}

TEST_CASE("a bad line of BED is told with its number") {
    const test::TempDir dir;
    const std::string path = dir.file("in.bed");
    const auto reading = [&](const std::string& line) {
        write_text(path, "#\n" + line + "\n");
        std::string message = test::error_of([&] { read_bed(path, contigs()); });
        const std::size_t at = message.find(path);
        return at == std::string::npos ? message : message.erase(at, path.size() - 6);
    };
    CHECK(reading("chr9\t1\t2") == "not_found: in.bed: line 2: there is no contig 'chr9'");
    CHECK(reading("chr1\t1") ==
          "format: in.bed: line 2: three columns are expected: contig, start, end");
    CHECK(reading("chr1\t1\tx") == "format: in.bed: line 2: 'x' is not a position");
    CHECK(reading("chr1\t-1\t5") == "format: in.bed: line 2: '-1' is not a position");
    CHECK(reading("chr1\t5\t5") ==
          "format: in.bed: line 2: the interval has no bases: its end is not past its start");
    CHECK(reading("2\t100\t101") ==
          "format: in.bed: line 2: the interval begins past the end of 2, which has 100 bases");
}
