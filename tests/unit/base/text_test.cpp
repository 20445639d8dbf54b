#include "base/text.hpp"

#include "base/error.hpp"

#include <catch2/catch.hpp>

using namespace mambase;

TEST_CASE("text is joined without locales") {
    CHECK(concat("row ", 7, '/', std::string("x"), ' ', -1, ' ', 18446744073709551615ULL, ' ',
                 0.1) == "row 7/x -1 18446744073709551615 0.1");
    CHECK(format_fixed(1.80949, 3) == "1.809");
    CHECK(format_count(1234567) == "1,234,567");
    CHECK(format_count(-123456) == "-123,456");
    CHECK(format_count(12) == "12");
    CHECK(format_bytes(1536) == "1.5 KB");
    CHECK(format_bytes(10) == "10 B");
    CHECK(format_bases(48.1e6) == "48.1 Mb");
    CHECK(format_duration(12.34) == "12.3s");
    CHECK(format_duration(185) == "3m05s");
    CHECK(format_duration(3725) == "1h02m");
}

TEST_CASE("sizes take K, M, G and nothing else") {
    CHECK(parse_size("0", SizeUnits::decimal) == 0);
    CHECK(parse_size("1k", SizeUnits::decimal) == 1000);
    CHECK(parse_size("1K", SizeUnits::binary) == 1024);
    CHECK(parse_size("2M", SizeUnits::binary) == 2097152);
    CHECK(parse_size("1.5M", SizeUnits::decimal) == 1500000);
    CHECK(parse_size("9223372036854775807", SizeUnits::decimal) == INT64_MAX);
    for (const char* bad : {"", "K", "-1", "+1", "1x", "1.5", "1 k", "0x10", "1e3",
                            "99999999999999999999", "9223372036854775807K"}) {
        INFO(bad);
        CHECK_THROWS_AS(parse_size(bad, SizeUnits::decimal), Error);
    }
}

TEST_CASE("split keeps empty fields") {
    CHECK(split("a\t\tb", '\t') == std::vector<std::string_view>{"a", "", "b"});
    CHECK(split("", ',') == std::vector<std::string_view>{""});
}
