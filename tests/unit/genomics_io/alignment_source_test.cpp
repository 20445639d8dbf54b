#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"
#include "genomics_io/byte_reader.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/references.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/source_conformance.hpp"

#include <htslib/sam.h>

using namespace mambase;
using namespace mambase::io;

namespace {

using Records = std::vector<test::Record>;

const std::string kHeader = "@HD\tVN:1.6\n@SQ\tSN:ref\tLN:2000000\n";

Records read_all(const std::string& path, const ReadOptions& options = {}) {
    return test::collect(*open_sequences(path, options));
}

/// Records as alignments: unmapped, and mapped on either strand, in turn.
std::string sam_text(const Records& records) {
    std::string text = kHeader;
    for (std::size_t i = 0; i < records.size(); ++i) {
        std::string bases = records[i].bases;
        const bool mapped = i % 3 != 0 && !bases.empty();
        const bool reverse = i % 3 == 2;
        if (reverse) {
            reverse_complement(bases);
        }
        text +=
            concat(records[i].name, '\t', mapped ? (reverse ? "16" : "0") : (reverse ? "20" : "4"),
                   mapped ? "\tref\t100\t60\t" : "\t*\t0\t0\t",
                   mapped ? concat(bases.size(), 'M') : std::string("*"), "\t*\t0\t0\t",
                   bases.empty() ? "*" : bases, "\t*\n");
    }
    return text;
}

/// `mode` of hts_open: "w" SAM, "wz" its bgzip, "wb" BAM, "wc" CRAM (that needs no reference);
/// "raw": BAM that is not compressed.
void write_alignments(const std::string& path, const std::string& sam, const char* mode) {
    const test::TempDir dir;
    write_text(dir.file("in.sam"), sam);
    htsFile* const in = hts_open(dir.file("in.sam").c_str(), "r");
    const bool raw = std::string_view(mode) == "raw";
    htsFile* const out = hts_open(path.c_str(), raw ? "wb" : mode);
    REQUIRE((in != nullptr && out != nullptr));
    if (out->format.format == cram) {
        hts_set_opt(out, CRAM_OPT_NO_REF, 1);
    }
    sam_hdr_t* const header = sam_hdr_read(in);
    bam1_t* const alignment = bam_init1();
    REQUIRE((header != nullptr && sam_hdr_write(out, header) == 0));
    int result = 0;
    while ((result = sam_read1(in, header, alignment)) >= 0) {
        REQUIRE(sam_write1(out, header, alignment) >= 0);
    }
    REQUIRE(result == -1);
    bam_destroy1(alignment);
    sam_hdr_destroy(header);
    REQUIRE(hts_close(in) == 0);
    REQUIRE(hts_close(out) == 0);
    if (raw) {
        write_text(path, read_inflated(path));
    }
}

std::string line(const std::string& name,
                 int flag,
                 const std::string& cigar,
                 const std::string& seq) {
    const bool mapped = (flag & 4) == 0;
    return concat(name, '\t', flag, mapped ? "\tref\t10\t60\t" : "\t*\t0\t0\t", cigar,
                  "\t*\t0\t0\t", seq, "\t*\n");
}

}  // namespace

TEST_CASE("SAM, BAM and CRAM do what a source has to do") {
    const test::TempDir dir;
    const std::string path = dir.file("in");
    const char* const mode = GENERATE("w", "wz", "wb", "wc");
    const int threads = GENERATE(0, 2);
    CAPTURE(mode, threads);
    test::check_conformance(
        [&](const Records& records) {
            write_alignments(path, sam_text(records), mode);
            return open_sequences(path, {threads, false});
        },
        false, true);
}

TEST_CASE("a read is what was sequenced, once") {
    const std::string sam = kHeader + line("plain", 0, "8M", "ACGTTGCA") +
                            line("reverse", 16, "8M", "AACCGRYN") +       //
                            line("spliced", 0, "4M900N4M", "ACGTACGT") +  //
                            line("soft", 16, "2S4M2S", "AACCGGTT") +      //
                            line("hard", 0, "3H4M", "ACGT") +             //
                            line("pair", 99, "4M", "AAAC") +              //
                            line("pair", 147, "4M", "AAAG") +             //
                            line("pair", 355, "4M", "CCCC") +             // secondary
                            line("pair", 2147, "4M", "CCCC") +            // supplementary
                            line("both", 2304, "4M", "CCCC") +            // both
                            line("unmapped", 4, "*", "GATTACA") +         //
                            line("duplicate", 1024, "4M", "TTTA") +       //
                            line("filtered", 512, "4M", "TTTC") +         //
                            line("pair", 69, "*", "ACCA") +               //
                            line("nothing", 4, "*", "*");
    const Records expected{{"plain", "ACGTTGCA"}, {"reverse", "NRYCGGTT"}, {"spliced", "ACGTACGT"},
                           {"soft", "AACCGGTT"},  {"hard", "ACGT"},        {"pair/1", "AAAC"},
                           {"pair/2", "CTTT"},    {"unmapped", "GATTACA"}, {"duplicate", "TTTA"},
                           {"filtered", "TTTC"},  {"pair/1", "ACCA"},      {"nothing", ""}};
    const test::TempDir dir;
    for (const char* const mode : {"w", "wz", "wb", "raw", "wb0", "wc"}) {
        CAPTURE(mode);
        write_alignments(dir.file("in"), sam, mode);
        const auto source = open_sequences(dir.file("in"), {});
        CHECK(test::collect(*source) == expected);
        CHECK(source->skipped().secondary == 2);
        CHECK(source->skipped().supplementary == 1);
        CHECK(test::read_pipe(read_text(dir.file("in")),
                              [](const std::string& path) { return read_all(path); }) == expected);
    }
}

TEST_CASE("a file of alignments may have no header, or nothing but one") {
    const test::TempDir dir;
    write_text(dir.file("in"), line("a", 4, "*", "ACGT"));
    CHECK(read_all(dir.file("in")) == Records{{"a", "ACGT"}});
    for (const char* const mode : {"w", "wb", "wc"}) {
        write_alignments(dir.file("in"), kHeader, mode);
        CHECK(read_all(dir.file("in")).empty());
    }
}

TEST_CASE("alignments without their end marker are an error, by pipe too") {
    const test::TempDir dir;
    const std::string sam = sam_text({{"a", "ACGT"}, {"b", "GGCC"}, {"c", "TTTA"}});
    const char* const mode = GENERATE("wz", "wb", "wc");
    const int threads = GENERATE(0, 2);
    CAPTURE(mode, threads);
    write_alignments(dir.file("in"), sam, mode);
    std::string content = read_text(dir.file("in"));
    content.resize(content.size() - (std::string_view(mode) == "wc" ? 38 : 28));
    write_text(dir.file("cut"), content);
    const Records records{{"a", "ACGT"}, {"b", "GGCC"}, {"c", "TTTA"}};
    const auto pipe = [&](const ReadOptions& options) {
        return test::read_pipe(content,
                               [&](const std::string& path) { return read_all(path, options); });
    };
    const std::string missing = "the end marker is missing";
    CHECK_THAT(test::error_of([&] {
                   read_all(dir.file("cut"), {threads, false});
               }),
               Catch::StartsWith("format: " + dir.file("cut")) && Catch::Contains(missing));
    CHECK_THAT(test::error_of([&] { pipe({threads, false}); }), Catch::Contains(missing));
    CHECK(read_all(dir.file("cut"), {threads, true}) == records);
    CHECK(pipe({threads, true}) == records);
}

TEST_CASE("alignments cut at any byte fail, or give exactly the reads before the cut") {
    const test::TempDir dir;
    std::mt19937 random(9);
    Records records;
    for (int i = 0; i < 12; ++i) {
        records.push_back({concat("read", i), test::random_bases(random, 40, 5)});
        for (char& c : records.back().bases) {
            c = static_cast<char>(c >= 'a' ? c - 'a' + 'A' : c);
            c = c == 'U' ? 'T' : c;
        }
    }
    const char* const mode = GENERATE("w", "wz", "wb", "raw", "wc");
    const bool ignore_eof = GENERATE(false, true);
    write_alignments(dir.file("whole"), sam_text(records), mode);
    const std::string content = read_text(dir.file("whole"));
    for (std::size_t n = 0; n < content.size(); ++n) {
        CAPTURE(mode, n, content.size());
        write_text(dir.file("cut"), content.substr(0, n));
        Records got;
        const std::string message = test::error_of([&] {
            got = read_all(dir.file("cut"), {0, ignore_eof});
        });
        if (message == "no error") {
            REQUIRE(
                (ignore_eof || std::string_view(mode) == "w" || std::string_view(mode) == "raw"));
            REQUIRE(got.size() <= records.size());
            REQUIRE(std::equal(got.begin(), got.end(), records.begin()));
        }
    }
}

TEST_CASE("REF_PATH loses what is a network address") {
    CHECK(local_elements("").empty());
    CHECK(local_elements("/a/%2s/%s") == "/a/%2s/%s");
    CHECK(local_elements("/a:/b/%s") == "/a:/b/%s");
    CHECK(local_elements("http://h/md5/%s").empty());
    CHECK(local_elements("/a:https://h:8080/md5/%s:/b") == "/a:/b");
    CHECK(local_elements("URL=ftp://h/%s:/b") == "/b");
}

TEST_CASE("the reference of a CRAM: given, or an error that says what to do") {
    const test::TempDir dir;
    std::mt19937 random(4);
    std::string reference = test::random_bases(random, 500, 1000);
    write_text(dir.file("ref.fa"), ">ref\n" + reference + "\n");
    const std::string bases = reference.substr(9, 100);
    const std::string sam = "@SQ\tSN:ref\tLN:500\n" + line("a", 0, "100M", bases);
    write_text(dir.file("in.sam"), sam);
    htsFile* const in = hts_open(dir.file("in.sam").c_str(), "r");
    htsFile* const out = hts_open(dir.file("in.cram").c_str(), "wc");
    REQUIRE(hts_set_opt(out, CRAM_OPT_REFERENCE, dir.file("ref.fa").c_str()) == 0);
    sam_hdr_t* const header = sam_hdr_read(in);
    bam1_t* const alignment = bam_init1();
    REQUIRE(sam_hdr_write(out, header) == 0);
    REQUIRE(sam_read1(in, header, alignment) >= 0);
    REQUIRE(sam_write1(out, header, alignment) >= 0);
    bam_destroy1(alignment);
    sam_hdr_destroy(header);
    REQUIRE(hts_close(in) == 0);
    REQUIRE(hts_close(out) == 0);

    std::string upper = bases;
    std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
        c = static_cast<char>(c >= 'a' ? c - 'a' + 'A' : c);
        return c == 'U' ? 'T' : c;
    });
    const std::string path = dir.file("in.cram");
    CHECK(read_all(path, {0, false, dir.file("ref.fa")}) == Records{{"a", upper}});
    // The header names the file itself (UR), which is not taken.
    CHECK_THAT(test::error_of([&] { read_all(path); }),
               Catch::StartsWith("format: " + path) && Catch::Contains("give it with -T"));
    CHECK_THAT(test::error_of([&] {
                   read_all(path, {0, false, dir.file("none.fa")});
               }),
               Catch::StartsWith("not_found: " + dir.file("none.fa")));
    reference[50] = reference[50] == 'A' ? 'C' : 'A';
    write_text(dir.file("other.fa"), ">ref\n" + reference + "\n");
    CHECK_THAT(test::error_of([&] {
                   read_all(path, {0, false, dir.file("other.fa")});
               }),
               Catch::Contains("the reference is not the one"));
}
