#include "kernels/tensor/shape.hpp"

#include "base/error.hpp"
#include "kernels/tensor/dtype.hpp"

#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;

TEST_CASE("a shape counts its elements") {
    CHECK(Shape().count() == 1);
    CHECK(Shape({0, 5}).count() == 0);
    CHECK(Shape({2, 3, 4, 5, 6}).count() == 720);
    CHECK(Shape({2, 3}).text() == "[2, 3]");
    CHECK(Shape().text() == "[]");
}

TEST_CASE("shapes are equal when rank and extents are") {
    CHECK(Shape({2, 3}) == Shape({2, 3}));
    CHECK_FALSE(Shape({2, 3}) == Shape({3, 2}));
    CHECK_FALSE(Shape({2}) == Shape({2, 1}));
    Shape grown({2, 3});
    grown.set(1, 4);
    CHECK(grown == Shape({2, 4}));
}

TEST_CASE("a shape refuses what cannot be one") {
    constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
    CHECK_THROWS_WITH(Shape({2, -1}), Catch::Contains("negative: -1"));
    CHECK_THROWS_WITH(Shape({1, 1, 1, 1, 1, 1}), Catch::Contains("five dimensions"));
    CHECK_THROWS_WITH(Shape({huge, 2}), Catch::Contains("overflows"));
    CHECK(Shape({huge}).count() == huge);
}

TEST_CASE("types know their size and name") {
    CHECK(size_of(DType::bf16) == 2);
    CHECK(size_of(DType::f64) == 8);
    CHECK(name(DType::f32) == "f32");
    CHECK(name(DType::bf16) == "bf16");
    CHECK(name(Device{}) == "cpu");
}
