// Read back by the library itself; compiled where the build has HDF5.
#include "genomics_io/hdf5_sink.hpp"

#include "tests/support/temp_dir.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <array>
#include <cstdint>
#include <hdf5.h>
#include <string>
#include <vector>

using namespace mambase;
using namespace mambase::io;
using mambase::test::error_of;

namespace {

void write_some(const std::string& path, RowType type) {
    const std::string before = exists(path) ? read_text(path) : "";
    Hdf5Sink sink(path, type, 3);
    const std::vector<float> rows{1, -2, 0.5, 4, 5, 6.25};
    sink.write_rows(3, rows.data(), 2);
    sink.write_rows(1, rows.data(), 1);
    sink.add_span("chr1", 100, 104, "+", 0, 4);
    for (int i = 0; i < 3000; ++i) {  // over several blocks of lines
        sink.add_span("read" + std::to_string(i), 0, 1, ".", 4 + i, 1);
    }
    sink.attribute("strand", "concat");
    sink.attribute("context", 1024);
    CHECK((exists(path) ? read_text(path) : "") == before);
    sink.finish(7);
}

std::string text_attribute(hid_t file, const char* name) {
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    const hid_t type = H5Aget_type(attribute);
    char* text = nullptr;
    REQUIRE(H5Aread(attribute, type, &text) >= 0);
    std::string out(text);
    H5free_memory(text);
    H5Tclose(type);
    H5Aclose(attribute);
    return out;
}

}  // namespace

TEST_CASE("an HDF5 file has its rows in their places, what they are, and nothing of the time") {
    const test::TempDir dir;
    const std::string path = dir.file("out.h5");
    const RowType type = GENERATE(RowType::f16, RowType::f32);
    write_some(path, type);

    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
    REQUIRE(file >= 0);
    const hid_t array = H5Dopen2(file, "embedding", H5P_DEFAULT);
    const hid_t stored = H5Dget_type(array);
    CHECK(H5Tget_size(stored) == (type == RowType::f16 ? 2 : 4));
    const hid_t space = H5Dget_space(array);
    std::array<hsize_t, 2> extent{};
    REQUIRE(H5Sget_simple_extent_dims(space, extent.data(), nullptr) == 2);
    CHECK(extent == std::array<hsize_t, 2>{7, 3});
    std::vector<float> values(21, -1.0F);
    REQUIRE(H5Dread(array, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) >= 0);
    CHECK(values == std::vector<float>{0,   0, 0, 1,    -2, 0.5, 0, 0, 0, 1, -2,
                                       0.5, 4, 5, 6.25, 0,  0,   0, 0, 0, 0});

    const hid_t table = H5Dopen2(file, "rows", H5P_DEFAULT);
    struct Line {
        char* contig;
        std::int64_t end;
        char strand[2];
        std::int64_t first_row;
    };
    const hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, H5T_VARIABLE);
    H5Tset_cset(text, H5T_CSET_UTF8);
    const hid_t letter = H5Tcopy(H5T_C_S1);
    H5Tset_size(letter, 2);
    const hid_t line = H5Tcreate(H5T_COMPOUND, sizeof(Line));
    H5Tinsert(line, "contig", HOFFSET(Line, contig), text);
    H5Tinsert(line, "end", HOFFSET(Line, end), H5T_NATIVE_INT64);
    H5Tinsert(line, "strand", HOFFSET(Line, strand), letter);
    H5Tinsert(line, "first_row", HOFFSET(Line, first_row), H5T_NATIVE_INT64);
    const hid_t lines_space = H5Dget_space(table);
    REQUIRE(H5Sget_simple_extent_npoints(lines_space) == 3001);
    std::vector<Line> lines(3001);
    REQUIRE(H5Dread(table, line, H5S_ALL, H5S_ALL, H5P_DEFAULT, lines.data()) >= 0);
    CHECK(std::string(lines[0].contig) == "chr1");
    CHECK(lines[0].end == 104);
    CHECK(std::string(lines[0].strand) == "+");
    CHECK(std::string(lines[3000].contig) == "read2999");
    CHECK(lines[3000].first_row == 3003);
    H5Dvlen_reclaim(line, lines_space, H5P_DEFAULT, lines.data());

    CHECK(text_attribute(file, "strand") == "concat");
    for (const hid_t id : {line, letter, text, stored}) {
        H5Tclose(id);
    }
    for (const hid_t id : {space, lines_space}) {
        H5Sclose(id);
    }
    for (const hid_t id : {array, table}) {
        H5Dclose(id);
    }
    H5Fclose(file);

    const std::string bytes = read_text(path);
    write_some(path, type);
    CHECK(read_text(path) == bytes);
}

TEST_CASE("HDF5 refuses what arrays refuse, and leaves nothing") {
    const test::TempDir dir;
    const std::string path = dir.file("out.h5");
    const std::vector<float> rows{1, 70000};
    CHECK(error_of([&] { Hdf5Sink(path, RowType::f16, 2).write_rows(10, rows.data(), 1); }) ==
          "format: " + path + ": the value 70000 of row 10, channel 1 overflows f16 (use f32)");
    CHECK_FALSE(exists(path));
    CHECK_THAT(error_of([] { Hdf5Sink("-", RowType::f32, 2); }),
               Catch::StartsWith("unsupported: HDF5 is written in place"));
    CHECK_THAT(error_of([&] { Hdf5Sink(dir.file("no/such.h5"), RowType::f32, 2); }),
               Catch::StartsWith("not_found: "));
}
