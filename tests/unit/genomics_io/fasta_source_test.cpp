#include "genomics_io/fasta_source.hpp"

#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/source_conformance.hpp"

using namespace mambase;
using namespace mambase::io;

namespace {

std::vector<test::Record> read_all(const std::string& path, const ReadOptions& options = {}) {
    return test::collect(*open_fasta(path, options));
}

std::vector<test::Record> read_text_as(const std::string& text, const char* mode = "wu") {
    const test::TempDir dir;
    test::write_as(dir.file("in.fa"), text, mode);
    return read_all(dir.file("in.fa"));
}

/// What reading this text says, without the directory of the file.
std::string reading(const std::string& text, const char* mode = "wu") {
    const test::TempDir dir;
    test::write_as(dir.file("in.fa"), text, mode);
    std::string message = test::error_of([&] { read_all(dir.file("in.fa")); });
    const std::size_t at = message.find(dir.path() + "/");
    return at == std::string::npos ? message : message.erase(at, dir.path().size() + 1);
}

}  // namespace

TEST_CASE("sequential FASTA does what a source has to do") {
    const test::TempDir dir;
    const std::string path = dir.file("in.fa");
    const char* const mode = GENERATE("wu", "wg", "w");
    const int threads = GENERATE(0, 1, 3);
    for (const test::FastaStyle& style :
         {test::FastaStyle{}, test::FastaStyle{61, "\r\n", true},
          test::FastaStyle{1 << 30, "\n", false}, test::FastaStyle{7, "\r\n", false}}) {
        CAPTURE(mode, threads, style.width);
        test::check_conformance(
            [&](const std::vector<test::Record>& records) {
                test::write_as(path, test::fasta_text(records, style), mode);
                return open_fasta(path, {threads, false});
            },
            false);
    }
}

TEST_CASE("what FASTA may look like") {
    using Records = std::vector<test::Record>;
    CHECK(read_text_as(">a\nAC\n") == Records{{"a", "AC"}});
    CHECK(read_text_as("\n\r\n>a b c\nAC\n\nGT\n\n\n>b\tx\r\nacgtu\r\nN") ==
          Records{{"a", "ACGT"}, {"b", "acgtuN"}});
    CHECK(read_text_as(">a") == Records{{"a", ""}});
    CHECK(read_text_as(">a\n>b\n\n>c\r\n") == Records{{"a", ""}, {"b", ""}, {"c", ""}});
    CHECK(read_text_as(">a\nAC>GT\n") == Records{{"a", "AC>GT"}});  // letters are not judged here
    CHECK(read_text_as(">a\nA\rC\r") == Records{{"a", "A\rC"}});
    CHECK(read_text_as(">a\n\r\r\nA") == Records{{"a", "\rA"}});
    CHECK(read_text_as(">a\nAC\n", "w") == Records{{"a", "AC"}});
    CHECK(read_text_as(">a\nAC\n", "wg") == Records{{"a", "AC"}});
}

TEST_CASE("the end of a line may fall on any border of a buffer") {
    // The file is read in pieces of 64 KiB: shift CR LF and '>' across the first two borders.
    for (std::size_t shift = 0; shift < 8; ++shift) {
        const std::vector<test::Record> records{{"a", std::string(65536 - 30 + shift, 'A')},
                                                {"b", std::string(65536 - 30 + shift, 'C')},
                                                {"c", "G"}};
        test::FastaStyle style;
        style.line_end = "\r\n";
        style.width = std::size_t{1} << 20;
        CHECK(read_text_as(test::fasta_text(records, style)) == records);
    }
}

TEST_CASE("bad FASTA is one clear line that names the file and the place") {
    CHECK(reading("") == "format: in.fa: the file is empty");
    CHECK(reading("", "w") == "format: in.fa: the file is empty");
    CHECK(reading("\n\n") == "format: in.fa: the file holds no record");
    CHECK(reading("ACGT\n") ==
          "format: in.fa: line 1: data before the first header: a line '>name' is expected");
    CHECK(reading("\n\nACGT\n>a\n") ==
          "format: in.fa: line 3: data before the first header: a line '>name' is expected");
    CHECK(reading(">\nACGT\n") == "format: in.fa: record 0: the header line has no name after '>'");
    CHECK(reading(">a\n> b\n") == "format: in.fa: record 1: the header line has no name after '>'");
    CHECK(reading(">a\nA\n>b\n>a x\n") ==
          "format: in.fa: record 2 (a): the name 'a' is that of record 0 already");
    CHECK(reading(">" + std::string(70000, 'x')) ==
          "format: in.fa: record 0: the name of a record is longer than 65,536 bytes");
}

TEST_CASE("other formats are named") {
    const auto other = [](const std::string& format) {
        return "unsupported: in.fa: the file is " + format +
               "; here FASTA (plain, gzip or bgzip) is expected";
    };
    CHECK(reading("@read/1\nACGT\n+\nIIII\n") == other("FASTQ"));
    CHECK(reading("@HD\tVN:1.6\n") == other("SAM"));
    CHECK(reading("BAM\1", "w") == other("BAM"));
    CHECK(reading("CRAM\3") == other("CRAM"));
    CHECK(reading("##fileformat=VCFv4.2\n", "w") == other("VCF"));
    CHECK(reading("BCF\2\2", "w") == other("BCF"));
    CHECK(reading("BZh91AY") == other("compressed by bzip2"));
    CHECK(reading("\xFD"
                  "7zXZ") == other("compressed by xz"));
}

TEST_CASE("files that are not there, or are no files") {
    const test::TempDir dir;
    CHECK(test::error_of([&] { read_all(dir.file("none.fa")); }) ==
          "not_found: " + dir.file("none.fa") + ": cannot open: No such file or directory");
    CHECK(test::error_of([&] { read_all(dir.path()); }) ==
          "io: " + dir.path() + ": is a directory, a file is expected");
}

TEST_CASE("a name is a name, not a URL") {
    const test::TempDir dir;
    test::write_as(dir.file("data:,x"), ">a\nAC\n", "wu");
    CHECK(read_all(dir.file("data:,x")).size() == 1);
}

namespace {

std::vector<test::Record> read_pipe(const std::string& content, const ReadOptions& options) {
    return test::read_pipe(content,
                           [&](const std::string& path) { return read_all(path, options); });
}

}  // namespace

TEST_CASE("pipes are read like files, and a missing end marker shows on them too") {
    const test::TempDir dir;
    const std::vector<test::Record> records = test::conformance_records();
    const char* const mode = GENERATE("wu", "wg", "w");
    test::write_as(dir.file("in.fa"), test::fasta_text(records), mode);
    std::string content = read_text(dir.file("in.fa"));
    CHECK(read_pipe(content, {}) == records);
    if (std::string_view(mode) == "w") {
        content.resize(content.size() - 28);  // the end marker is an empty block of 28 bytes
        const int threads = GENERATE(0, 2);
        CHECK_THAT(test::error_of([&] {
                       read_pipe(content, {threads, false});
                   }),
                   Catch::Contains("the end marker of bgzip is missing"));
        CHECK(read_pipe(content, {threads, true}) == records);
    }
}

TEST_CASE("bgzip files joined by cat read as one") {
    const test::TempDir dir;
    for (const char* const mode : {"w", "wg"}) {
        test::write_as(dir.file("a"), ">a\nACGT\n", mode);
        test::write_as(dir.file("b"), ">b\nGGCC\n", mode);
        write_text(dir.file("ab"), read_text(dir.file("a")) + read_text(dir.file("b")));
        for (const int threads : {0, 2}) {
            CHECK(read_all(dir.file("ab"), {threads, false}) ==
                  std::vector<test::Record>{{"a", "ACGT"}, {"b", "GGCC"}});
        }
    }
}

TEST_CASE("a file cut at any byte fails, or gives exactly the prefix where it is plain text") {
    const test::TempDir dir;
    const std::string path = dir.file("cut.fa");
    std::mt19937 random(5);
    std::vector<test::Record> records{{"first", test::random_bases(random, 90, 20)},
                                      {"second", test::random_bases(random, 130, 20)}};
    const std::string text = test::fasta_text(records);
    const char* const mode = GENERATE("wu", "wg", "w");
    const int threads = GENERATE(0, 1);
    test::write_as(dir.file("whole.fa"), text, mode);
    const std::string content = read_text(dir.file("whole.fa"));
    for (std::size_t n = 0; n < content.size(); ++n) {
        CAPTURE(mode, threads, n, content.size());
        write_text(path, content.substr(0, n));
        if (std::string_view(mode) != "wu") {
            const std::string message = test::error_of([&] { read_all(path, {threads, false}); });
            REQUIRE_THAT(message, Catch::StartsWith("format: " + path + ": "));
            continue;
        }
        std::vector<test::Record> expected;
        for (std::size_t at = 0; at < n;) {  // line by line, as the format says
            const std::string line = text.substr(at, std::min(text.find('\n', at), n) - at);
            if (line[0] == '>') {
                expected.push_back({line.substr(1, line.find(' ') - 1), {}});
            } else {
                expected.back().bases += line;
            }
            at += line.size() + 1;
        }
        if (n == 0 || text[n - 1] == '>') {  // nothing, or a header without a name
            REQUIRE(test::error_of([&] { read_all(path); }) != "no error");
        } else {
            REQUIRE(read_all(path) == expected);
        }
    }
}

TEST_CASE("bgzip of several blocks: cut or damaged anywhere, it fails") {
    const test::TempDir dir;
    const std::string path = dir.file("cut.fa.gz");
    std::mt19937 random(6);
    const std::string text = test::fasta_text({{"a", test::random_bases(random, 200000, 50)}});
    test::write_as(dir.file("whole.fa.gz"), text, "w");
    const std::string content = read_text(dir.file("whole.fa.gz"));
    const int threads = GENERATE(0, 1);
    for (std::size_t n = 1; n < content.size(); n += 997) {
        CAPTURE(threads, n, content.size());
        write_text(path, content.substr(0, n));
        REQUIRE(test::error_of([&] { read_all(path, {threads, false}); }) != "no error");
        std::string damaged = content;
        damaged[n] = static_cast<char>(damaged[n] ^ 0x10);
        write_text(path, damaged);
        std::vector<test::Record> records;
        const std::string message = test::error_of([&] {
            records = read_all(path, {threads, false});
        });
        REQUIRE((message != "no error" ||
                 test::fasta_text(records) == text));  // a time stamp may change
    }
    write_text(path, content.substr(0, content.size() / 2));
    CHECK_THAT(test::error_of([&] { read_all(path); }), Catch::Contains("virtual offset "));
}
