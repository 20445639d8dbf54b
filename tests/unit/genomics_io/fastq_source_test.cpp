#include "genomics_io/open.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/source_conformance.hpp"

using namespace mambase;
using namespace mambase::io;

namespace {

using Records = std::vector<test::Record>;

Records read_all(const std::string& path, const ReadOptions& options = {}) {
    return test::collect(*open_sequences(path, options));
}

Records read_text_as(const std::string& text, const char* mode = "wu") {
    const test::TempDir dir;
    test::write_as(dir.file("in.fq"), text, mode);
    return read_all(dir.file("in.fq"));
}

/// What reading this text says, without the directory of the file.
std::string reading(const std::string& text) {
    const test::TempDir dir;
    test::write_as(dir.file("in.fq"), text, "wu");
    std::string message = test::error_of([&] { read_all(dir.file("in.fq")); });
    const std::size_t at = message.find(dir.path() + "/");
    return at == std::string::npos ? message : message.erase(at, dir.path().size() + 1);
}

/// Quality of every printable character, so that lines of it begin with '@', '+' and '>' too.
std::string fastq_text(const Records& records, const test::FastaStyle& style, bool name_again) {
    std::string text;
    std::size_t quality = 0;
    const auto lines = [&](const std::string& letters) {
        for (std::size_t at = 0; at < letters.size(); at += style.width) {
            text += letters.substr(at, style.width) + style.line_end;
        }
        if (letters.empty()) {
            text += style.line_end;
        }
    };
    for (const test::Record& record : records) {
        text += "@" + record.name + " some words" + style.line_end;
        lines(record.bases);
        text += "+" + (name_again ? record.name + " some words" : "") + style.line_end;
        std::string qualities(record.bases.size(), ' ');
        for (char& c : qualities) {
            c = static_cast<char>('!' + quality++ % 94);
        }
        lines(qualities);
    }
    if (!style.final_newline) {
        text.resize(text.size() - style.line_end.size());
    }
    return text;
}

}  // namespace

TEST_CASE("FASTQ does what a source has to do") {
    const test::TempDir dir;
    const std::string path = dir.file("in.fq");
    const char* const mode = GENERATE("wu", "wg", "w");
    const int threads = GENERATE(0, 3);
    for (const test::FastaStyle& style :
         {test::FastaStyle{}, test::FastaStyle{61, "\r\n", true},
          test::FastaStyle{1 << 30, "\n", false}, test::FastaStyle{7, "\r\n", false}}) {
        CAPTURE(mode, threads, style.width);
        test::check_conformance(
            [&](const Records& records) {
                test::write_as(path, fastq_text(records, style, style.width == 61), mode);
                return open_sequences(path, {threads, false});
            },
            false);
    }
}

TEST_CASE("what FASTQ may look like") {
    CHECK(read_text_as("@a\nAC\n+\nII\n") == Records{{"a", "AC"}});
    CHECK(read_text_as("\n\r\n@a b\nAC\nGT\n+a\nI\nII\nI\n\n@b\r\nacgtN\r\n+b x\r\n@+>!~") ==
          Records{{"a", "ACGT"}, {"b", "acgtN"}});
    CHECK(read_text_as("@a\n\n+\n\n@b\n+\n@c\n\n+") == Records{{"a", ""}, {"b", ""}, {"c", ""}});
    CHECK(read_text_as("@r\nA\n+\nI\n@r\nC\n+\nI\n") == Records{{"r", "A"}, {"r", "C"}});
    CHECK(read_text_as("@a\nAC\n+\n@@\n@b\nA\n+\n+\n") == Records{{"a", "AC"}, {"b", "A"}});
    CHECK(read_text_as("@a\tRG:Z:x\nAC\n+\nII\n") == Records{{"a", "AC"}});
}

TEST_CASE("bad FASTQ is one clear line that names the file and the place") {
    CHECK(reading("@a\nACGT\n+\nIII\n") ==
          "format: in.fq: record 0 (a): line 5: the quality is shorter than the sequence: 3 for 4 "
          "bases (truncated?)");
    CHECK(reading("@a\nACGT\n+\nIIIII\n") ==
          "format: in.fq: record 0 (a): line 4: the quality is longer than the sequence: 5 for 4 "
          "bases");
    CHECK(reading("@a\nACGT\n+\nIIII\nI\n@b\nA\n+\nI\n") ==
          "format: in.fq: record 0 (a): line 5: after this record a line with '@' is expected; its "
          "quality may be longer than its sequence");
    CHECK(reading("@a\nACGT\n@b\nACGT\n+\nIIII\n") ==
          "format: in.fq: record 0 (a): line 3: this record has no line with '+' and no quality");
    CHECK(reading("@a\nACGT\n") ==
          "format: in.fq: record 0 (a): line 3: the file ends within this record (truncated?)");
    CHECK(reading("@a\nACGT\n+b\nIIII\n") ==
          "format: in.fq: record 0 (a): line 3: the line with '+' names another record, 'b'");
    CHECK(reading("@a\nACGT\n+\nI II\n") ==
          "format: in.fq: record 0 (a): line 4: a quality that is no printable character");
    CHECK(reading("@\nACGT\n+\nIIII\n") ==
          "format: in.fq: record 0: line 1: the header line has no name after '@'");
    CHECK(reading("@a\nA\n+\nI\n>b\nA\n") ==
          "format: in.fq: record 0 (a): line 5: a record of FASTA in a file of FASTQ");
}

TEST_CASE("FASTQ by pipe; bgzip without its end marker fails there too") {
    const test::TempDir dir;
    const Records records = test::conformance_records();
    test::write_as(dir.file("in.fq"), fastq_text(records, {}, false), "w");
    std::string content = read_text(dir.file("in.fq"));
    const auto read = [&](const ReadOptions& options) {
        return test::read_pipe(content,
                               [&](const std::string& path) { return read_all(path, options); });
    };
    CHECK(read({}) == records);
    content.resize(content.size() - 28);
    CHECK_THAT(test::error_of([&] { read({}); }),
               Catch::Contains("the end marker of bgzip is missing"));
    CHECK(read({0, true}) == records);
}

TEST_CASE("FASTQ cut at any byte fails, or gives exactly the records before the cut") {
    const test::TempDir dir;
    const std::string path = dir.file("cut.fq");
    const Records records{{"a", "ACGTN"}, {"bc", ""}, {"d", "ACGTACGTACGT"}, {"e", "T"}};
    const char* const mode = GENERATE("wu", "wg", "w");
    const std::string text = fastq_text(records, {5, "\n", true}, true);
    test::write_as(dir.file("whole.fq"), text, mode);
    const std::string content = read_text(dir.file("whole.fq"));
    int whole = 0;
    for (std::size_t n = 0; n < content.size(); ++n) {
        CAPTURE(mode, n);
        write_text(path, content.substr(0, n));
        Records got;
        const std::string message = test::error_of([&] { got = read_all(path); });
        if (message == "no error") {
            REQUIRE(std::string_view(mode) == "wu");
            REQUIRE(got.size() <= records.size());
            REQUIRE(std::equal(got.begin(), got.end(), records.begin()));
            whole += got.size() == records.size() ? 1 : 0;
        }
    }
    CHECK(whole <= 1);  // without the last newline
}
