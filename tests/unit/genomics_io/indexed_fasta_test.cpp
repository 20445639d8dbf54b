#include "genomics_io/indexed_fasta.hpp"

#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"
#include "genomics_io/open.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/source_conformance.hpp"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

using namespace mambase;
using namespace mambase::io;

namespace {

std::string reversed(std::string bases) {
    reverse_complement(bases);
    return bases;
}

IndexedFasta open_quietly(const std::string& path) {
    return IndexedFasta::open(path, {}, {});
}

std::vector<test::Record> some_records() {
    std::mt19937 random(11);
    return {{"chr1", test::random_bases(random, 1000, 30)},
            {"empty", ""},
            {"chr2", test::random_bases(random, 70000, 30)},
            {"chr:3", test::random_bases(random, 300000, 30)},
            {"chr4", test::random_bases(random, 61, 30)}};
}

/// Message of reading all of every contig, without the directory.
std::string reading(const test::TempDir& dir, const std::string& file) {
    std::string message = test::error_of([&] {
        const IndexedFasta fasta = open_quietly(dir.file(file));
        for (std::size_t i = 0; i < fasta.contigs().size(); ++i) {
            test::collect(*fasta.read(static_cast<std::int64_t>(i), 0, fasta.contigs()[i].length,
                                      Strand::forward));
        }
    });
    for (std::size_t at = 0; (at = message.find(dir.path() + "/")) != std::string::npos;) {
        message.erase(at, dir.path().size() + 1);
    }
    return message;
}

}  // namespace

TEST_CASE("indexed FASTA does what a source has to do, on both strands") {
    const test::TempDir dir;
    const char* const mode = GENERATE("wu", "w");
    const Strand strand = GENERATE(Strand::forward, Strand::reverse);
    int files = 0;
    for (const test::FastaStyle& style : {test::FastaStyle{}, test::FastaStyle{61, "\r\n", true},
                                          test::FastaStyle{std::size_t{1} << 30, "\n", false},
                                          test::FastaStyle{7, "\r\n", false}}) {
        test::check_conformance(
            [&](std::vector<test::Record> records) {
                REQUIRE(records.size() == 1);
                if (strand == Strand::reverse) {
                    records[0].bases = reversed(records[0].bases);
                }
                const std::string path = dir.file("in" + std::to_string(files++) + ".fa");
                test::write_as(path, test::fasta_text(records, style), mode);
                const IndexedFasta fasta = open_quietly(path);
                REQUIRE(fasta.contigs().size() == 1);
                return fasta.read(0, 0, fasta.contigs()[0].length, strand);  // outlives `fasta`
            },
            true);
    }
}

TEST_CASE("any interval of any contig, on either strand") {
    const test::TempDir dir;
    const std::vector<test::Record> records = some_records();
    const char* const mode = GENERATE("wu", "w");
    test::write_as(dir.file("in.fa"), test::fasta_text(records), mode);
    const IndexedFasta fasta = open_quietly(dir.file("in.fa"));
    REQUIRE(fasta.contigs().size() == records.size());
    CHECK(fasta.find("chr:3") == 3);
    CHECK(fasta.find("chr") == std::nullopt);
    std::mt19937 random(12);
    for (int i = 0; i < 300; ++i) {
        const std::size_t contig = random() % records.size();
        const std::string& bases = records[contig].bases;
        const std::size_t begin = random() % (bases.size() + 1);
        const std::size_t end = begin + random() % (bases.size() + 1 - begin);
        const Strand strand = random() % 2 == 0 ? Strand::forward : Strand::reverse;
        const std::string whole = strand == Strand::forward ? bases : reversed(bases);
        const auto at = static_cast<std::int64_t>(begin);
        CAPTURE(contig, begin, end, strand == Strand::reverse);
        const auto source = fasta.read(static_cast<std::int64_t>(contig), at,
                                       static_cast<std::int64_t>(end), strand);
        CHECK(test::collect(*source, at) ==
              std::vector<test::Record>{{records[contig].name, whole.substr(begin, end - begin)}});
    }
    CHECK_THAT(test::error_of([&] { fasta.read(0, 5, 1001, Strand::forward); }),
               Catch::StartsWith("usage: [5, 1001) does not lie in contig chr1 of length 1000"));
}

TEST_CASE("several threads read from one index") {
    const test::TempDir dir;
    const std::vector<test::Record> records = some_records();
    test::write_as(dir.file("in.fa"), test::fasta_text(records), "w");
    const IndexedFasta fasta = open_quietly(dir.file("in.fa"));
    std::vector<std::string> got(8);
    {
        std::vector<std::jthread> threads;
        for (std::size_t t = 0; t < got.size(); ++t) {
            threads.emplace_back([&, t] {
                const auto contig = static_cast<std::int64_t>(t % 2 + 2);
                const auto source =
                    fasta.read(contig, 0, fasta.contigs()[t % 2 + 2].length, Strand::forward);
                Segment segment;
                while (source->next(segment)) {
                    got[t].append(segment.bases.data(), segment.bases.size());
                }
            });
        }
    }
    for (std::size_t t = 0; t < got.size(); ++t) {
        CHECK(got[t] == records[t % 2 + 2].bases);
    }
}

TEST_CASE("indexes are those that samtools writes") {
    if (std::system("samtools --version > /dev/null 2>&1") != 0) {
        WARN("SKIPPED: samtools is not on PATH, so its indexes and bases were not compared");
        return;
    }
    const test::TempDir dir;
    std::vector<test::Record> records = some_records();
    records.erase(records.begin() + 1);  // samtools 1.16 does not index an empty record
    const char* const mode = GENERATE("wu", "w");
    const test::FastaStyle style = GENERATE(test::FastaStyle{}, test::FastaStyle{61, "\r\n", true},
                                            test::FastaStyle{std::size_t{1} << 30, "\n", false});
    const std::string path = dir.file("in.fa");
    test::write_as(path, test::fasta_text(records, style), mode);
    const IndexedFasta fasta = open_quietly(path);
    const std::string fai = read_text(path + ".fai");
    const bool packed = exists(path + ".gzi");
    CHECK(packed == (std::string_view(mode) == "w"));
    const std::string gzi = packed ? read_text(path + ".gzi") : "";
    std::filesystem::remove(path + ".fai");
    std::filesystem::remove(path + ".gzi");
    REQUIRE(std::system(("samtools faidx " + path).c_str()) == 0);
    CHECK(read_text(path + ".fai") == fai);
    if (packed) {
        CHECK(read_text(path + ".gzi") == gzi);
    }
    for (const Strand strand : {Strand::forward, Strand::reverse}) {
        const std::string out = dir.file("out.fa");
        const std::string options = strand == Strand::reverse ? " -i " : " ";
        REQUIRE(
            std::system(("samtools faidx -n 1000000" + options + path + " chr2:1001-68000 > " + out)
                            .c_str()) == 0);
        const std::string text = read_text(out);
        const Interval forward{1000, 68000};
        const Interval wanted =
            strand == Strand::forward ? forward : mirrored(forward, fasta.contigs()[1].length);
        const auto source = fasta.read(1, wanted.begin, wanted.end, strand);
        const std::size_t line = text.find('\n') + 1;
        CHECK(test::collect(*source, wanted.begin)[0].bases ==
              text.substr(line, text.size() - line - 1));
    }
}

TEST_CASE("a missing index is built beside the file, else under TMPDIR") {
    const test::TempDir dir;
    const test::TempDir temporary;
    const std::string path = dir.file("in.fa");
    test::write_as(path, test::fasta_text(some_records()), "w");
    std::vector<std::string> said;
    Observer observer;
    observer.on_info = [&](std::string_view text) { said.emplace_back(text); };
    observer.on_warning = observer.on_info;

    IndexedFasta::open(path, {}, observer);
    CHECK(said ==
          std::vector{"index written: " + path + ".fai", "index written: " + path + ".gzi"});
    said.clear();
    IndexedFasta::open(path, {}, observer);
    CHECK(said.empty());

    const auto old = std::filesystem::last_write_time(path) - std::chrono::hours(1);
    std::filesystem::last_write_time(path + ".fai", old);
    IndexedFasta::open(path, {}, observer);
    CHECK(said == std::vector{"the index " + path + ".fai is older than its file"});
    said.clear();

    // Even root cannot write here: a link that leads nowhere can be neither read nor replaced by
    // way of a file in a directory that is not there.
    std::filesystem::remove(path + ".fai");
    std::filesystem::remove(path + ".gzi");
    const std::string linked = "/proc/self/fd/";
    const File open_file = File::open_read(path);
    const std::string unwritable = linked + std::to_string(open_file.fd());
    const char* const before = std::getenv("TMPDIR");
    const std::string saved = before == nullptr ? "" : before;
    ::setenv("TMPDIR", temporary.path().c_str(), 1);
    IndexedFasta::open(unwritable, {}, observer);
    const std::vector<std::string> first = said;
    said.clear();
    IndexedFasta::open(unwritable, {}, observer);
    before == nullptr ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", saved.c_str(), 1);
    REQUIRE(first.size() == 2);
    CHECK_THAT(first[0], Catch::StartsWith("index written: " + temporary.path() + "/"));
    CHECK(said.empty());  // found there the second time
}

TEST_CASE("what cannot be indexed says so") {
    const test::TempDir dir;
    const auto write = [&](const std::string& text, const char* mode) {
        test::write_as(dir.file("in.fa"), text, mode);
        return reading(dir, "in.fa");
    };
    CHECK(write(">a\nACGT\n", "wg") ==
          "unsupported: in.fa: plain gzip cannot be indexed; recompress with bgzip (gzip -dc FILE "
          "| bgzip)");
    const std::string differ =
        "the lines of this record differ in length, so it cannot be indexed; rewrap the file (for "
        "example with seqtk seq -l 60)";
    CHECK(write(">a\nAC\n>b\nACGT\nAC\nACGT\n", "wu") ==
          "unsupported: in.fa: record 1 (b): line 6: " + differ);
    CHECK(write(">a\nAC\nACG\n", "wu") == "unsupported: in.fa: record 0 (a): line 3: " + differ);
    CHECK(write(">a\nAC\n\nAC\n", "wu") == "unsupported: in.fa: record 0 (a): line 4: " + differ);
    CHECK(write(">a\nAC\r\nAC\nA\n", "wu") ==
          "unsupported: in.fa: record 0 (a): line 3: " + differ);
    CHECK(write("ACGT\n", "wu") ==
          "format: in.fa: line 1: data before the first header: a line '>name' is expected");
    CHECK(write("", "wu") == "format: in.fa: the file is empty");
    CHECK(write(">a\nA\n>a\nA\n", "wu") ==
          "format: in.fa: record 1 (a): the name 'a' is that of record 0 already");
    CHECK(write(">a\nA\n>\nA\n", "wu") ==
          "format: in.fa: record 1: the header line has no name after '>'");
    CHECK(test::error_of([&] { open_quietly("-"); }) ==
          "usage: -: a pipe cannot be looked into without taking its bytes");
    CHECK(test::error_of([&] { open_quietly(dir.path()); }) ==
          "io: " + dir.path() + ": is a directory, a file is expected");
    CHECK_THAT(reading(dir, "none.fa"), Catch::StartsWith("not_found: none.fa: cannot open"));
    CHECK_FALSE(can_be_indexed("-"));
    CHECK(can_be_indexed(dir.file("in.fa")));
    test::write_as(dir.file("in.fa"), ">a\nA\n", "wg");
    CHECK_FALSE(can_be_indexed(dir.file("in.fa")));
}

TEST_CASE("a bgzip file without its end marker is not indexed") {
    const test::TempDir dir;
    const std::string path = dir.file("in.fa");
    test::write_as(path, ">a\nACGT\n", "w");
    const std::string content = read_text(path);
    write_text(path, content.substr(0, content.size() - 28));
    CHECK_THAT(reading(dir, "in.fa"), Catch::Contains("the end marker of bgzip is missing"));
    const IndexedFasta fasta = IndexedFasta::open(path, {0, true}, {});
    CHECK(test::collect(*fasta.read(0, 0, 4, Strand::forward))[0].bases == "ACGT");
}

TEST_CASE("an index that does not fit its file is an error that says to rebuild it") {
    const test::TempDir dir;
    const std::string path = dir.file("in.fa");
    const std::string text = ">a x\nACGT\nAC\n>b\nGGCC\nG\n";
    const std::string good = "a\t6\t5\t4\t5\nb\t5\t16\t4\t5\n";
    const auto with = [&](const std::string& fai) {
        write_text(path, text);
        write_text(path + ".fai", fai);
        return reading(dir, "in.fa");
    };
    const auto misfit = [](const std::string& record, const std::string& why) {
        return "format: in.fa: record " + record + ": the index does not fit the file (" + why +
               "): delete the .fai and .gzi to have them built anew";
    };
    CHECK(with(good) == "no error");
    const std::string lines = misfit("0 (a)", "a line ends where bases should be");
    const std::string b = "its offset does not follow a header '>b'";
    CHECK(with("a\t6\t5\t4\t5\nc\t5\t16\t4\t5\n") ==
          misfit("1 (c)", "its offset does not follow a header '>c'"));
    CHECK(with("a\t5\t5\t4\t5\nb\t5\t16\t4\t5\n") == misfit("1 (b)", b));
    CHECK(with("a\t7\t5\t4\t5\nb\t5\t16\t4\t5\n") == lines);
    CHECK(with("a\t6\t5\t4\t5\nb\t5\t15\t4\t5\n") == misfit("1 (b)", b));
    CHECK(with("a\t6\t5\t4\t5\nb\t5\t17\t4\t5\n") == misfit("1 (b)", b));
    CHECK(with("a\t6\t4\t4\t5\nb\t5\t16\t4\t5\n") ==
          misfit("0 (a)", "its offset does not follow a header '>a'"));
    CHECK(with("a\t6\t5\t4\t5\n") == misfit("0 (a)", "there is more in the file after its end"));
    CHECK(with("a\t6\t5\t4\t5\nb\t4\t16\t4\t5\n") ==
          misfit("1 (b)", "there is more in the file after its end"));
    CHECK(with("a\t6\t5\t4\t5\nb\t6\t16\t4\t5\n") ==
          misfit("1 (b)", "a line ends where bases should be"));
    CHECK(with("a\t6\t5\t4\t5\nb\t9\t16\t4\t5\n") ==
          misfit("1 (b)", "the file ends within the record"));
    CHECK(with("a\t6\t5\t3\t5\nb\t5\t16\t4\t5\n") == lines);
    CHECK(with("b\t5\t16\t4\t5\na\t6\t5\t4\t5\n") == misfit("0 (b)", b));
    // Lengths that fit by chance, lines that do not: found while reading.
    CHECK(with("a\t6\t5\t5\t6\nb\t5\t16\t4\t5\n") == lines);
    CHECK(with("a\t7\t5\t7\t8\nb\t5\t16\t4\t5\n") == lines);

    const std::string not_fai =
        "not a line of a FASTA index (name, length, offset, line bases, line bytes); delete the "
        "index to have it built anew";
    CHECK(with("a\t6\t5\t4\n") == "format: in.fa.fai: line 1: " + not_fai);
    CHECK(with("a\t6\t5\t4\t5\nb\t5\t-1\t4\t5\n") == "format: in.fa.fai: line 2: " + not_fai);
    CHECK(with("a\t6\t5\t0\t0\n") == "format: in.fa.fai: line 1: " + not_fai);
    CHECK(with("a\t9223372036854775807\t5\t1\t3\n") == "format: in.fa.fai: line 1: " + not_fai);
    CHECK(with(good + "a\t6\t5\t4\t5\n") ==
          "format: in.fa.fai: record 2 (a): the name 'a' is that of record 0 already");
}

TEST_CASE("a .gzi that does not fit never gives other bases") {
    const test::TempDir dir;
    const std::string path = dir.file("in.fa");
    const std::vector<test::Record> records = some_records();
    test::write_as(path, test::fasta_text(records), "w");
    open_quietly(path);
    const std::string gzi = read_text(path + ".gzi");
    write_text(path + ".gzi", gzi.substr(0, gzi.size() - 1));
    CHECK_THAT(reading(dir, "in.fa"), Catch::Contains("not an index of bgzip blocks"));
    for (std::size_t i = 0; i < gzi.size(); ++i) {
        std::string damaged = gzi;
        damaged[i] = static_cast<char>(damaged[i] ^ 0x04);
        write_text(path + ".gzi", damaged);
        CAPTURE(i);
        std::string got = reversed(records[3].bases);
        const std::string message = test::error_of([&] {
            const IndexedFasta fasta = open_quietly(path);
            got = test::collect(*fasta.read(3, 0, fasta.contigs()[3].length, Strand::reverse))[0]
                      .bases;
        });
        REQUIRE((message == "no error" || message.substr(0, 8) == "format: "));
        REQUIRE((got == reversed(records[3].bases)));
    }
}

TEST_CASE("a path may name its index") {
    const test::TempDir dir;
    const std::string path = dir.file("in.fa.gz");
    const std::vector<test::Record> records = some_records();
    test::write_as(path, test::fasta_text(records), "w");
    open_quietly(path);
    std::filesystem::create_directory(dir.file("elsewhere"));
    for (const char* const suffix : {".fai", ".gzi"}) {
        std::filesystem::rename(path + suffix, dir.file(concat("elsewhere/x", suffix)));
    }
    const std::string named = path + "##idx##" + dir.file("elsewhere/x.fai");
    CHECK(can_be_indexed(named));
    const IndexedFasta fasta = open_quietly(named);
    CHECK(fasta.path() == path);
    CHECK(test::collect(*fasta.read(3, 0, fasta.contigs()[3].length, Strand::reverse))[0].bases ==
          reversed(records[3].bases));
    CHECK_FALSE(exists(path + ".fai"));  // nothing was built
    CHECK_FALSE(exists(path + ".gzi"));
    const auto source = open_sequences(named, {});
    CHECK(test::collect(*source) == records);
    CHECK(source->path() == path);
    CHECK_THAT(test::error_of([&] { open_quietly(path + "##idx##" + dir.file("none.fai")); }),
               Catch::StartsWith("not_found: " + dir.file("none.fai")));
}
