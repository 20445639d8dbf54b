// What our sinks write is read back, and what is no such file is told of.
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "genomics_io/half.hpp"
#include "genomics_io/npy_array.hpp"
#include "genomics_io/table_reader.hpp"
#include "genomics_io/table_sink.hpp"
#include "tests/support/temp_dir.hpp"

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::io;

namespace {

template <class Body>
std::string failure_of(const Body& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("every half is read back as what it was", "[readers]") {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = from_half(half);
        if (std::isnan(value)) {
            REQUIRE((half & 0x7C00U) == 0x7C00U);
            REQUIRE((half & 0x3FFU) != 0);
        } else {
            REQUIRE(to_half(value) == half);
        }
    }
}

TEST_CASE("arrays of rows are read back", "[readers]") {
    const test::TempDir dir;
    const std::string path = dir.file("rows.npy");
    const auto type = GENERATE(RowType::f16, RowType::f32);
    const std::vector<float> rows = {1.0F, -2.5F, 0.0F, 1024.0F, 0x1p-20F, 3.0F};
    NpySink sink(path, type, 3);
    sink.write_rows(0, rows.data(), 2);
    sink.finish(2);
    CHECK(is_npy(path));
    const NpyArray array(path);
    REQUIRE(array.rows() == 2);
    REQUIRE(array.dim() == 3);
    std::vector<float> row(3);
    array.read_row(1, row);
    CHECK(row == std::vector<float>{1024.0F, 0x1p-20F, 3.0F});
    array.read_row(0, row);
    CHECK(row == std::vector<float>{1.0F, -2.5F, 0.0F});

    const std::string whole = read_text(path);
    write_text(path, whole.substr(0, whole.size() - 1));
    CHECK(failure_of([&] { NpyArray{path}; }).find("bytes by its header") == std::string::npos);
    CHECK(failure_of([&] { NpyArray{path}; }).find("by its header") != std::string::npos);
    write_text(path, whole.substr(0, 20));
    CHECK(failure_of([&] { NpyArray{path}; }).find("expected '<f2' or '<f4'") != std::string::npos);
    write_text(path, "\x93NUM");
    CHECK_FALSE(is_npy(path));
    CHECK(failure_of([&] { NpyArray{path}; }).find("not a .npy file") != std::string::npos);
    NpyByteSink bytes(path);
    bytes.append(std::vector<std::uint8_t>{1, 2, 3});
    bytes.finish();
    CHECK(failure_of([&] { NpyArray{path}; }).find("an array of '|u1'") != std::string::npos);
}

TEST_CASE("tables are read by the names of their columns", "[readers]") {
    const test::TempDir dir;
    const std::string path = dir.file("t.tsv");
    TableSink sink(path, {"name", "bits"});
    sink.row("chr 1", 1.25);
    sink.row("chr2", "NA");
    sink.finish();
    const TableReader table(path);
    REQUIRE(table.rows() == 2);
    CHECK(table.columns() == std::vector<std::string>{"name", "bits"});
    CHECK(table.has({"bits", "name"}));
    CHECK_FALSE(table.has("nats"));
    CHECK(table.text(0, "name") == "chr 1");
    CHECK(table.number(0, "bits") == 1.25);
    CHECK(std::isnan(table.number(1, "bits")));
    CHECK(failure_of([&] {
              static_cast<void>(table.number(1, "name"));
          }).find("t.tsv: record 1 (chr2): 'chr2' in column name is no number") !=
          std::string::npos);
    CHECK(failure_of([&] { static_cast<void>(table.text(0, "nats")); }).find("no column 'nats'") !=
          std::string::npos);

    write_text(path, "a\tb\r\n1\t2\r\n\n3\t4");
    CHECK(TableReader(path).text(1, "b") == "4");
    write_text(path, "a\tb\n1\t2\t3\n");
    CHECK(failure_of([&] { TableReader{path}; }).find("line 2: 3 fields in a table of 2 columns") !=
          std::string::npos);
    write_text(path, "a\ta\n");
    CHECK(failure_of([&] { TableReader{path}; }).find("column 2 of its first line was there") !=
          std::string::npos);
    write_text(path, "");
    CHECK(failure_of([&] { TableReader{path}; }).find("has no name") != std::string::npos);
}
