#include "genomics_io/fasta_sink.hpp"
#include "genomics_io/half.hpp"
#include "genomics_io/npy_sink.hpp"
#include "genomics_io/open.hpp"
#include "genomics_io/table_sink.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

using namespace mambase;
using namespace mambase::io;

namespace {

/// The value of a half, by its definition.
double value_of(std::uint16_t half) {
    const int exponent = (half >> 10) & 0x1F;
    const int mantissa = half & 0x3FF;
    const double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == 0x1F) {
        return mantissa != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
    }
    return sign *
           (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

}  // namespace

TEST_CASE("halves: every one of them is kept, and what lies between goes to the nearest even") {
    for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const double value = value_of(half);
        if (std::isnan(value)) {
            REQUIRE((to_half(static_cast<float>(value)) & 0x7FFF) == 0x7E00);
            continue;
        }
        REQUIRE(to_half(static_cast<float>(value)) == half);
        const auto above = static_cast<std::uint16_t>(half + 1);
        if ((half & 0x7FFF) < 0x7BFF) {  // its neighbour away from zero is a finite half too
            const auto middle = static_cast<float>((value + value_of(above)) / 2);
            const std::uint16_t even = (half & 1) == 0 ? half : above;
            REQUIRE(to_half(middle) == even);
            REQUIRE(to_half(std::nextafter(middle, 0.0F)) == half);
            REQUIRE(to_half(std::nextafter(middle, middle * 2)) == above);
        }
    }
    CHECK(is_finite_half(to_half(65519.996F)));
    CHECK_FALSE(is_finite_half(to_half(65520.0F)));
    CHECK(to_half(1e-30F) == 0);
    CHECK(to_half(-std::numeric_limits<float>::infinity()) == 0xFC00);
}

TEST_CASE("rows go to their place in any order, those never written are zero") {
    const test::TempDir dir;
    const RowType type = GENERATE(RowType::f16, RowType::f32);
    const std::string path = dir.file("out.npy");
    NpySink sink(path, type, 3);
    const std::vector<float> rows{1, -2, 0.5, 4, 5, 6.25};
    sink.write_rows(3, rows.data(), 2);
    sink.write_rows(1, rows.data(), 1);
    CHECK_FALSE(exists(path));
    sink.finish(7);
    const std::string text = read_text(path);
    CHECK(static_cast<std::int64_t>(text.size()) == NpySink::file_bytes(type, 3, 7));
    CHECK(text.substr(0, 8) == std::string("\x93NUMPY\1\0", 8));
    CHECK((static_cast<unsigned char>(text[8]) + 10) % 64 == 0);
    CHECK(text[127] == '\n');
    const std::string descr = type == RowType::f16 ? "<f2" : "<f4";
    CHECK(text.substr(10, 60).find("{'descr': '" + descr +
                                   "', 'fortran_order': False, 'shape': (7, 3), }") == 0);
    const std::vector<float> expected{0,   0, 0, 1,    -2, 0.5, 0, 0, 0, 1, -2,
                                      0.5, 4, 5, 6.25, 0,  0,   0, 0, 0, 0};
    for (std::size_t i = 0; i < expected.size(); ++i) {
        if (type == RowType::f16) {
            std::uint16_t half = 0;
            std::memcpy(&half, text.data() + 128 + 2 * i, 2);
            CHECK(value_of(half) == expected[i]);
        } else {
            float value = 0;
            std::memcpy(&value, text.data() + 128 + 4 * i, 4);
            CHECK(value == expected[i]);
        }
    }
    if (std::system("python3 -c 'import numpy' 2> /dev/null") != 0) {
        WARN("SKIPPED: numpy is not there, so the file was not opened with it");
        return;
    }
    CHECK(std::system(("python3 -c \"import numpy as n; a = n.load('" + path +
                       "', mmap_mode='r'); assert a.shape == (7, 3) and a.flags.c_contiguous; "
                       "assert a[4, 2] == 6.25 and a[6].sum() == 0\"")
                          .c_str()) == 0);
}

TEST_CASE("an .npy of no rows, and refusals") {
    const test::TempDir dir;
    const std::string path = dir.file("out.npy");
    NpySink empty(path, RowType::f32, 5);
    empty.finish(0);
    CHECK(read_text(path).size() == 128);

    const float inf = std::numeric_limits<float>::infinity();
    const std::vector<float> rows{1, 2, 3, 70000, 5, std::nanf("")};
    const auto write = [&](RowType type, std::int64_t n, const float* from) {
        return test::error_of(
            [&] { NpySink(dir.file("bad.npy"), type, 2).write_rows(10, from, n); });
    };
    const std::string at = "format: " + dir.file("bad.npy") + ": ";
    CHECK(write(RowType::f16, 2, rows.data()) ==
          at + "the value 70000 of row 11, channel 1 overflows f16 (use f32)");
    CHECK(write(RowType::f32, 2, rows.data()) == "no error");
    CHECK(write(RowType::f32, 3, rows.data()) ==
          at + "the value nan of row 12, channel 1 is not a finite number");
    const std::vector<float> infinite{inf, 0};
    CHECK(write(RowType::f16, 1, infinite.data()) ==
          at + "the value inf of row 10, channel 0 is not a finite number");
    CHECK_FALSE(exists(dir.file("bad.npy")));

    NpySink sink(dir.file("short.npy"), RowType::f32, 2);
    sink.write_rows(10, rows.data(), 1);
    CHECK(test::error_of([&] { sink.finish(10); }) ==
          "usage: row 10 was written, but the file is to have 10 rows");
    CHECK_THAT(test::error_of([] { NpySink("-", RowType::f32, 2); }),
               Catch::StartsWith("unsupported: a .npy file is written in place"));
    CHECK_THAT(test::error_of([&] { NpySink(dir.file("no/such.npy"), RowType::f32, 2); }),
               Catch::StartsWith("not_found: "));
}

TEST_CASE("tables are typed rows under a header line") {
    const test::TempDir dir;
    const std::string path = dir.file("out.tsv");
    TableSink table(path, {"name", "start", "nats"});
    table.row("chr1", std::int64_t{5}, 0.1);
    table.row(std::string("chr2"), 7, 2.0);
    CHECK(test::error_of([&] { table.row("a\tb", 1, 2); }) ==
          "usage: " + path + ": a field of a table holds a tab or a line break: 'a\tb'");
    CHECK_FALSE(exists(path));
    table.finish();
    CHECK(read_text(path) == "name\tstart\tnats\nchr1\t5\t0.1\nchr2\t7\t2\n");
}

TEST_CASE("FASTA is plain or bgzip by its name, and reads back") {
    const test::TempDir dir;
    std::vector<std::string> bases = {"", std::string(60, 'A'), std::string(61, 'C')};
    for (std::size_t i = 0; i < 200'000; ++i) {
        bases[0].push_back("ACGT"[i * i % 7 % 4]);
    }
    const auto write = [&](const std::string& name, int threads) {
        const std::string path = dir.file(name);
        FastaSink sink(path, threads);
        for (std::size_t i = 0; i < bases.size(); ++i) {
            sink.record(std::string(1, static_cast<char>('p' + i)), bases[i]);
        }
        CHECK_FALSE(exists(path));
        sink.finish();
        return read_text(path);
    };
    const std::string plain = write("a.fa", 1);
    CHECK(plain.substr(plain.find(">q")) ==
          ">q\n" + bases[1] + "\n>r\n" + bases[2].substr(1) + "\nC\n");
    const std::string zipped = write("a.fa.gz", 1);
    CHECK(zipped.size() < plain.size());
    CHECK((write("b.fa.bgz", 4) == zipped));
    for (const char* const name : {"a.fa", "a.fa.gz"}) {
        const auto source = open_sequences(dir.file(name), {});
        Segment segment;
        std::vector<std::string> read;
        while (source->next(segment)) {
            if (segment.first) {
                read.emplace_back();
            }
            read.back().append(segment.bases.begin(), segment.bases.end());
        }
        CHECK((read == bases));
    }
}
