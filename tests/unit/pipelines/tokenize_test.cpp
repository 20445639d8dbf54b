#include "pipelines/tokenize.hpp"

#include "base/file.hpp"
#include "tests/support/pipeline_lab.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::pipelines;
using mambase::test::failure_of;

TEST_CASE("tokens as text, as an array, and counted", "[tokenize]") {
    const test::PipelineLab lab;
    TokenizeOptions options;
    write_text(lab.file("in.fa"), ">x\nACgtRN\nU\n>none\n>y\n" + std::string(31, 'A') + "\n");
    options.reading.inputs = {lab.file("in.fa")};
    options.output = lab.file("out.txt");
    const TokenizeReport report = tokenize(options, lab.runtime());
    CHECK(report.records == 3);
    CHECK(report.bases == 38);
    std::string line = "7";
    for (int i = 1; i < 30; ++i) {
        line += " 7";
    }
    CHECK(read_text(options.output) == ">x\n7 8 9 10 11 11 10\n>none\n>y\n" + line + "\n7\n");
    CHECK(lab.warned_of("none: no bases"));

    options.reading.regions = {"x:2-3", "y:31"};
    tokenize(options, lab.runtime());
    CHECK(read_text(options.output) == ">x:2-3\n8 9\n>y:31-31\n7\n");
    options.tokenizer = "bytes";
    tokenize(options, lab.runtime());
    CHECK(read_text(options.output) == ">x:2-3\n67 71\n>y:31-31\n65\n");

    options.reading.regions.clear();
    options.tokenizer = "dna";
    options.counts = true;
    tokenize(options, lab.runtime());
    CHECK(read_text(options.output) ==
          "name\tletter\tid\tcount\nx\tA\t7\t1\nx\tC\t8\t1\nx\tN\t11\t1\nx\tR\t11\t1\nx\tU\t10\t1\n"
          "x\tg\t9\t1\nx\tt\t10\t1\ny\tA\t7\t31\nall\tA\t7\t32\nall\tC\t8\t1\nall\tN\t11\t1\n"
          "all\tR\t11\t1\nall\tU\t10\t1\nall\tg\t9\t1\nall\tt\t10\t1\n");

    options.counts = false;
    options.output = lab.file("out.npy");
    const TokenizeReport array = tokenize(options, lab.runtime());
    CHECK(array.rows_table == lab.file("out.rows.tsv"));
    CHECK(read_text(array.rows_table) ==
          "contig\tstart\tend\tstrand\tfirst_row\trows\nx\t0\t7\t+\t0\t7\nnone\t0\t0\t+\t7\t0\n"
          "y\t0\t31\t+\t7\t31\n");
    const std::string bytes = read_text(options.output);
    REQUIRE(bytes.size() == 128 + 38);
    CHECK(bytes.find("{'descr': '|u1', 'fortran_order': False, 'shape': (38,), }") == 10);
    CHECK(bytes.substr(128, 8) == "\x07\x08\x09\x0A\x0B\x0B\x0A\x07");
}

TEST_CASE("tokenize leaves nothing behind where it fails", "[tokenize]") {
    const test::PipelineLab lab;
    TokenizeOptions options;
    write_text(lab.file("in.fa"), ">x\nACGT\n>y\nAC-T\n");
    options.reading.inputs = {lab.file("in.fa")};
    options.output = lab.file(GENERATE("out.txt", "out.npy"));
    CHECK(failure_of([&] { tokenize(options, lab.runtime()); }).find("y:3-3") != std::string::npos);
    CHECK_FALSE(exists(options.output));
    CHECK_FALSE(exists(lab.file("out.rows.tsv")));
    options.counts = true;
    options.output = lab.file("out.npy");
    CHECK(failure_of([&] { options.validate(); }).find("not an array") != std::string::npos);
}
