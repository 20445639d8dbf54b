#include "tests/unit/genomics_io/source_conformance.hpp"
#include "tests/unit/genomics_io/variant_files.hpp"

#include <filesystem>

using namespace mambase;
using namespace mambase::io;

namespace {

using Lines = std::vector<std::string>;

const std::string kMeta =
    "##fileformat=VCFv4.3\n"
    "##FILTER=<ID=q10,Description=\"low\">\n"
    "##FILTER=<ID=s50,Description=\"few\">\n"
    "##INFO=<ID=END,Number=1,Type=Integer,Description=\"End\">\n"
    "##INFO=<ID=SVLEN,Number=.,Type=Integer,Description=\"Length\">\n"
    "##INFO=<ID=DP,Number=1,Type=Integer,Description=\"Depth\">\n"
    "##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n"
    "##FORMAT=<ID=DP,Number=1,Type=Integer,Description=\"Depth\">\n"
    "##FORMAT=<ID=PS,Number=1,Type=Integer,Description=\"Phase set\">\n"
    "##contig=<ID=chr1,length=1000>\n"
    "##contig=<ID=HLA:1,length=500>\n";
const std::string kHeader = kMeta + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n";

const std::string kText =
    kHeader +
    "chr1\t10\trs1\tA\tC\t50\tPASS\tDP=3\tGT:PS\t0|1:10\t1/1:.\n"
    "chr1\t12\t.\tAcG\tA,AcGN,*\t.\tq10;s50\t.\tGT\t2|3\t./1\n"
    "chr1\t20\t.\tN\t<DEL>\t.\t.\tEND=90;SVLEN=-70\tGT\t1\t.\n"
    "chr1\t30\t.\tT\tT[HLA:1:9[,]chr1:77]T,.T,<DUP:TANDEM>\t.\tPASS\tSVLEN=.,.,.,8\tGT\t0|0|1\t0\n"
    "chr1\t40\t.\tR\t.\t.\tPASS\t.\tDP\t7\t.\n"
    "HLA:1\t0\t.\tN\tNA\t.\tPASS\tEND=-4\tGT:PS\t1|.:7\t.|1:7\n";
const Lines kLines{"chr1:10 rs1 A>C(S) PASS 0|1|@10 1/1/",
                   "chr1:12 . AcG>A(S)AcGN(S)*(*) q10 s50 2|3| -1/1/",
                   "chr1:20 . N><DEL>(<) END=90 SVLEN=70 1| -1|",
                   "chr1:30 . T>T[HLA:1:9[([)]chr1:77]T([).T([)<DUP:TANDEM>(<) PASS SVLEN=0 "
                   "SVLEN=0 SVLEN=0 SVLEN=8"
                   " 0|0|1| 0|",
                   "chr1:40 . R> PASS  ",
                   "HLA:1:0 . N>NA(S) PASS 1|-1|@7 -1|1|@7"};

const char* const kForms[] = {"vcf", "gzip", "bgzip", "bcf", "raw"};

std::string error_of_text(const std::string& text, const std::string& form = "vcf") {
    const test::TempDir dir;
    test::write_variants(dir.file("in"), text, form);
    return test::error_of([&] { test::read_all(VariantSource(dir.file("in"))); });
}

std::string error_of_record(const std::string& columns) {
    return error_of_text(kHeader + columns + "\n");
}

}  // namespace

TEST_CASE("variants read the same from every form, by file and by pipe") {
    const test::TempDir dir;
    const std::string path = dir.file("in");
    for (const char* const form : kForms) {
        CAPTURE(form);
        test::write_variants(path, kText, form);
        CHECK(test::read_all(VariantSource(path)) == kLines);
        CHECK(test::read_all(VariantSource(path, {.threads = 2})) == kLines);
        CHECK(test::read_pipe(read_text(path), [](const std::string& pipe) {
                  return test::read_all(VariantSource(pipe));
              }) == kLines);
    }
    std::string crlf;
    for (const char c : kText) {
        crlf += c == '\n' ? "\r\n" : std::string(1, c);
    }
    test::write_variants(path, crlf + "\r\n", "vcf");
    CHECK(test::read_all(VariantSource(path)) == kLines);
}

TEST_CASE("a file of variants may have no samples, or no records") {
    const test::TempDir dir;
    const std::string path = dir.file("in");
    const std::string header = kMeta + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";
    for (const char* const form : kForms) {
        CAPTURE(form);
        test::write_variants(path, header, form);
        CHECK(test::read_all(VariantSource(path)).empty());
        test::write_variants(path, header + "chr1\t5\t.\tA\tG\t.\t.\t.\n", form);
        CHECK(test::read_all(VariantSource(path)) == Lines{"chr1:5 . A>G(S)"});
    }
}

TEST_CASE("only the samples that are asked for, in that order") {
    const test::TempDir dir;
    for (const char* const form : kForms) {
        test::write_variants(dir.file("in"), kText, form);
        VariantSource source(dir.file("in"), {}, Lines{"B", "A"});
        Variant variant;
        REQUIRE(source.next(variant));
        CHECK(test::describe(variant) == "chr1:10 rs1 A>C(S) PASS 1/1/ 0|1|@10");
        CHECK(source.samples() == Lines{"B", "A"});
        VariantSource none(dir.file("in"), {}, Lines{});
        REQUIRE(none.next(variant));
        CHECK(test::describe(variant) == "chr1:10 rs1 A>C(S) PASS");
    }
    CHECK_THAT(test::error_of([&] { VariantSource(dir.file("in"), {}, Lines{"C"}); }),
               Catch::StartsWith("not_found: " + dir.file("in")) &&
                   Catch::Contains("no sample 'C'; the file has 2, the first is 'A'"));
}

TEST_CASE("a phase set may be a name") {
    std::string text = kHeader + "chr1\t10\t.\tA\tC\t.\t.\t.\tGT:PS\t0|1:PATMAT\t1|1:.\n";
    text.replace(text.find("ID=PS,Number=1,Type=Integer"), 27, "ID=PS,Number=1,Type=String");
    const test::TempDir dir;
    for (const char* const form : kForms) {
        test::write_variants(dir.file("in"), text, form);
        CHECK(test::read_all(VariantSource(dir.file("in"))) ==
              Lines{"chr1:10 . A>C(S) 0|1|@PATMAT 1|1|"});
    }
}

TEST_CASE("a record comes again when it is put back") {
    const test::TempDir dir;
    for (const char* const form : kForms) {
        test::write_variants(dir.file("in"), kText, form);
        VariantSource source(dir.file("in"));
        Variant variant;
        for (const std::string& line : kLines) {
            REQUIRE(source.next(variant));
            source.put_back();
            REQUIRE(source.next(variant));
            CHECK(test::describe(variant) == line);
        }
        CHECK_FALSE(source.next(variant));
    }
}

TEST_CASE("what is no variant is refused with its record and line") {
    const auto check = [](const std::string& message, const std::string& text) {
        CHECK_THAT(message, Catch::StartsWith("format: ") && Catch::Contains(text));
    };
    check(error_of_record("chr1\t5\t.\tA\tG\t.\t.\t."), "line 13: the record has 8 columns");
    check(error_of_record("chr1\t5\t.\tA\tG\t.\t.\t.\tGT\t0/1"), "has 10 columns");
    check(error_of_record("chr1\tx\t.\tA\tG\t.\t.\t.\tGT\t0/1\t0/1"), "line 13: POS 'x' is not");
    check(error_of_record("chr1\t-5\t.\tA\tG\t.\t.\t.\tGT\t0/1\t0/1"), "POS '-5' is not");
    for (const char* const ref : {".", "A,C", "*", "<DEL>", "A-", "E"}) {
        check(error_of_record(concat("chr1\t5\t.\t", ref, "\tG\t.\t.\t.\tGT\t0/1\t0/1")),
              "record 0 (chr1:5): line 13: REF '");
    }
    for (const char* const alt : {"A T", "A,,G", "<X", "<>", "<A>B>", "[1:100[", "A[1:100]", "A[1[",
                                  "-", "A[:1[", "A[1:x[", "..", "E"}) {
        check(error_of_record(concat("chr1\t5\t.\tA\t", alt, "\t.\t.\t.\tGT\t0\t0")),
              "record 0 (chr1:5): line 13: ALT '");
    }
    check(error_of_record("chr1\t5\t.\tA\tG\t.\t.\t.\tGT\t0/1\t0/2"),
          "sample B names allele 2, and there are 2 with REF");
    check(error_of_record("chr1\t5\t.\tA\tG\t.\t.\t.\tGT\t0/1\t0/C"), "not a record");
    check(error_of_record(std::string("chr1\t5\t.\tA\0\tG\t.\t.\t.\tGT\t0\t0", 26)), "a zero byte");
    check(error_of_text(kMeta + "chr1\t5\t.\tA\tG\t.\t.\t.\n"), "before the line");
    check(error_of_text(kMeta), "ends within its header");
    check(error_of_text(kMeta + "#CHROM\tPOS\n"), "the header cannot be parsed");
    check(error_of_text(kText.substr(0, kText.size() - 1)), "the last line has no end");
    CHECK_THAT(error_of_text(">chr1\nACGT\n"),
               Catch::StartsWith("unsupported: ") && Catch::Contains("neither VCF"));
    CHECK_THAT(error_of_text(""), Catch::StartsWith("unsupported: "));
    // BCF tells records by where they are.
    std::string text = kText;
    text.replace(text.find("\tAcG\t"), 5, "\tA-G\t");
    check(error_of_text(text, "bcf"), "record 1 (chr1:12): virtual offset ");
    text = kText;
    text.replace(text.find("2|3"), 3, "2|4");
    check(error_of_text(text, "bcf"), "names allele 4");
}

TEST_CASE("variants cut at any byte fail, or are exactly those before the cut") {
    const test::TempDir dir;
    const std::string path = dir.file("cut");
    for (const char* const form : kForms) {
        test::write_variants(dir.file("whole"), kText, form);
        const std::string content = read_text(dir.file("whole"));
        for (const bool ignore_eof : {false, true}) {
            std::size_t read = 0;
            for (std::size_t n = 0; n < content.size(); ++n) {
                CAPTURE(form, ignore_eof, n, content.size());
                write_text(path, content.substr(0, n));
                Lines got;
                const std::string message = test::error_of(
                    [&] { got = test::read_all(VariantSource(path, {.ignore_eof = ignore_eof})); });
                if (message != "no error") {
                    continue;
                }
                ++read;
                if (ignore_eof && std::string_view(form) == "vcf" && !got.empty()) {
                    got.pop_back();  // the last line may have lost its end
                }
                REQUIRE(got.size() <= kLines.size());
                REQUIRE(std::equal(got.begin(), got.end(), kLines.begin()));
            }
            const bool marked = std::string_view(form).find("zip") != std::string_view::npos ||
                                std::string_view(form) == "bcf";
            CHECK((read > 0) == (!marked || (ignore_eof && std::string_view(form) != "gzip")));
        }
    }
}

TEST_CASE("variants without their end marker are an error, by pipe too") {
    const test::TempDir dir;
    for (const char* const form : {"bgzip", "bcf"}) {
        for (const int threads : {0, 2}) {
            CAPTURE(form, threads);
            test::write_variants(dir.file("in"), kText, form);
            const std::string content = read_text(dir.file("in"));
            const std::string cut = content.substr(0, content.size() - 28);
            write_text(dir.file("cut"), cut);
            const std::string missing = "the end marker ";
            CHECK_THAT(test::error_of([&] {
                           test::read_all(VariantSource(dir.file("cut"), {threads, false}));
                       }),
                       Catch::StartsWith("format: ") && Catch::Contains(missing));
            CHECK_THAT(test::error_of([&] {
                           test::read_pipe(cut, [&](const std::string& pipe) {
                               return test::read_all(VariantSource(pipe, {threads, false}));
                           });
                       }),
                       Catch::StartsWith("format: ") && Catch::Contains(missing));
            CHECK(test::read_all(VariantSource(dir.file("cut"), {threads, true})) == kLines);
        }
    }
}

TEST_CASE("a region of variants, by an index beside the file or named") {
    const test::TempDir dir;
    const auto region = [](VariantSource& source, const std::string& contig, Interval interval) {
        source.select(contig, interval, {});
        Lines lines;
        Variant variant;
        while (source.next(variant)) {
            lines.push_back(test::describe(variant));
        }
        return lines;
    };
    for (const char* const form : {"bgzip", "bcf"}) {
        const bool text = std::string_view(form) == "bgzip";
        const std::string path = dir.file(form);
        test::write_variants(path, kText, form);
        const int made = text ? tbx_index_build(path.c_str(), 0, &tbx_conf_vcf)
                              : bcf_index_build(path.c_str(), 14);
        REQUIRE(made == 0);
        const std::string beside = path + (text ? ".tbi" : ".csi");
        for (const bool named : {false, true}) {
            CAPTURE(form, named);
            if (named) {
                std::filesystem::rename(beside, dir.file("elsewhere"));
            }
            VariantSource source(named ? path + "##idx##" + dir.file("elsewhere") : path);
            CHECK(source.path() == path);
            CHECK(region(source, "chr1", {9, 12}) == Lines{kLines[0], kLines[1]});
            CHECK(region(source, "chr1", {13, 14}) == Lines{kLines[1]});
            CHECK(region(source, "chr1", {80, 90}) == Lines{kLines[2]});
            CHECK(region(source, "chr1", {90, 1000}).empty());
            CHECK(region(source, "chr2", {0, 100}).empty());
            if (text) {  // HTSlib's index of BCF does not find what stands before the first base
                CHECK(region(source, "HLA:1", {0, 500}) == Lines{kLines[5]});
            }
            CHECK(region(source, "chr1", {0, 10}) == Lines{kLines[0]});
        }
        const auto select = [&](const std::string& name) {
            return test::error_of([&] {
                VariantSource source(name);
                source.select("chr1", {0, 10}, {});
            });
        };
        CHECK_THAT(select(path), Catch::StartsWith("not_found: " + path + ".csi"));
        CHECK_THAT(select(path + "##idx##" + dir.file("none")),
                   Catch::StartsWith("not_found: " + dir.file("none")));
        CHECK_THAT(select(path + "##idx##" + path), Catch::StartsWith("format: " + path));
        CHECK(test::read_all(VariantSource(path + "##idx##" + dir.file("none"))) == kLines);
    }
    test::write_variants(dir.file("plain"), kText, "vcf");
    CHECK_THAT(test::error_of([&] {
                   VariantSource(dir.file("plain")).select("chr1", {0, 10}, {});
               }),
               Catch::StartsWith("unsupported: ") && Catch::Contains("bgzip"));
}

TEST_CASE("REF is compared with a reference") {
    const test::TempDir dir;
    write_text(dir.file("ref.fa"), ">chr1\nACgtNRYBu\n>2\nA\n");
    const ReferenceCheck check(IndexedFasta::open(dir.file("ref.fa"), {}, {}));
    const auto compare = [&](const std::string& contig, std::int64_t position,
                             const std::string& ref,
                             const Allele& alternate = {"A", AlleleKind::bases}) {
        Variant variant;
        variant.contig = contig;
        variant.position = position;
        variant.reference = ref;
        variant.alternates = {alternate};
        std::string found;
        return check.compare(variant, found);
    };
    CHECK(compare("chr1", 0, "ACGT") == ReferenceMatch::same);
    CHECK(compare("chr1", 2, "gTn") == ReferenceMatch::same);
    CHECK(compare("chr1", 5, "RYB") == ReferenceMatch::same);
    CHECK(compare("chr1", 5, "ACC") == ReferenceMatch::same);  // the first base of each code
    CHECK(compare("chr1", 8, "T") == ReferenceMatch::same);
    CHECK(compare("chr1", 5, "G") == ReferenceMatch::differs);
    CHECK(compare("chr1", 0, "N") == ReferenceMatch::differs);
    CHECK(compare("chr1", 0, "N", {"<DEL>", AlleleKind::symbolic}) == ReferenceMatch::same);
    CHECK(compare("chr1", 4, "A") == ReferenceMatch::differs);
    CHECK(compare("chr1", 7, "BTA") == ReferenceMatch::differs);
    CHECK(compare("chr1", 9, "A") == ReferenceMatch::differs);
    CHECK(compare("chr1", -1, "NA") == ReferenceMatch::differs);
    CHECK(compare("chr2", 0, "A") == ReferenceMatch::no_contig);

    Variant variant;
    variant.record = 7;
    variant.contig = "chr1";
    variant.position = 1;
    variant.reference = "CC";
    CHECK_THAT(test::error_of([&] { check.require(variant, "in.vcf"); }),
               Catch::StartsWith("format: in.vcf: record 7 (chr1:2): REF is 'CC', where " +
                                 dir.file("ref.fa") + " has 'Cg'"));
    variant.contig = "chr2";
    CHECK_THAT(
        test::error_of([&] { check.require(variant, "in.vcf"); }),
        Catch::StartsWith("not_found: in.vcf: record 7 (chr2:2): there is no contig 'chr2'") &&
            Catch::Contains("which has '2'"));
}

TEST_CASE("what an alternate stands for") {
    Variant variant;
    variant.position = 9;
    variant.reference = "ACG";
    const auto extent = [&](std::vector<std::string> alternates, std::optional<std::int64_t> end,
                            std::vector<std::int64_t> lengths, std::size_t i = 0) {
        variant.alternates.clear();
        for (const std::string& text : alternates) {
            variant.alternates.push_back({text, classify_allele(text)});
        }
        variant.end = end;
        variant.lengths = std::move(lengths);
        return extent_of(variant, i);
    };
    CHECK(extent({"A"}, 99, {}) == Interval{9, 12});
    CHECK(extent({"<DEL>"}, 30, {50}) == Interval{10, 30});
    CHECK(extent({"<DEL>"}, std::nullopt, {50}) == Interval{10, 60});
    CHECK(extent({"<DEL>", "<DUP>"}, 60, {20, 50}, 0) == Interval{10, 30});
    CHECK(extent({"<DEL>", "<DUP>"}, 60, {20, 50}, 1) == Interval{10, 60});
    CHECK(extent({"<DEL>"}, 10, {}) == std::nullopt);
    CHECK(extent({"<DEL>"}, std::nullopt, {}) == std::nullopt);
    CHECK(extent({"*"}, 60, {}) == std::nullopt);
    CHECK(extent({"A[1:5["}, 60, {}) == std::nullopt);
}
