#include "base/error.hpp"

#include "base/checked_math.hpp"

#include <catch2/catch.hpp>

using namespace mambase;

TEST_CASE("an error renders on one line, place first") {
    const Error error = Error(ErrorCode::format, "quality shorter\nthan sequence")
                            .at("a.fq")
                            .record(7, "read/7")
                            .offset(123, "byte")
                            .add("while filling lane 3");
    CHECK(
        std::string(error.what()) ==
        "a.fq: record 7 (read/7): byte 123: quality shorter than sequence (while filling lane 3)");
    CHECK(error.code() == ErrorCode::format);
    CHECK(std::string(Error(ErrorCode::io, "no").what()) == "no");
}

TEST_CASE("sizes that overflow are refused") {
    CHECK(checked_mul(1LL << 31, 1LL << 31) == 1LL << 62);
    CHECK_THROWS_AS(checked_mul(1LL << 32, 1LL << 31), Error);
    CHECK_THROWS_AS(checked_add(INT64_MAX, 1), Error);
    CHECK(ceil_div(0, 4) == 0);
    CHECK(ceil_div(5, 4) == 2);
    CHECK(round_up(5, 4) == 8);
}

TEST_CASE("a failed assertion names its place") {
    try {
        MAMBASE_ASSERT(1 == 2);
        FAIL("no exception");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::internal);
        CHECK(error.message().find("error_test.cpp") != std::string::npos);
    }
}
