#include "kernels/tensor/view.hpp"

#include "base/error.hpp"

#include <array>
#include <numeric>

#include <catch2/catch.hpp>

using namespace mambase;

namespace {

/// 0, 1, 2, …
struct Numbers {
    std::array<float, 24> values{};

    Numbers() { std::iota(values.begin(), values.end(), 0.0F); }
    TensorView view(const Shape& shape) { return {values.data(), DType::f32, shape}; }
};

}  // namespace

TEST_CASE("a view reads row-major, and a row by leaving indices out") {
    Numbers numbers;
    const auto view = numbers.view({2, 3, 4}).as<float, 3>();
    CHECK(view(1, 2, 3) == 23.0F);
    CHECK(view(0, 1, 0) == 4.0F);
    CHECK(&view(1, 1) == &view(1, 1, 0));
    view(1, 0, 0) = -1.0F;
    CHECK(numbers.values[12] == -1.0F);
}

TEST_CASE("a slice keeps strides and moves the start") {
    Numbers numbers;
    const TensorView columns = numbers.view({2, 3, 4}).slice(2, 1, 3);
    CHECK(columns.shape() == Shape({2, 3, 2}));
    CHECK_FALSE(columns.is_contiguous());
    CHECK(columns.as<float, 3>()(1, 2, 1) == 22.0F);
    const TensorView rows = numbers.view({2, 3, 4}).slice(0, 1, 2);
    CHECK(rows.is_contiguous());
    CHECK(rows.reshape({12}).as<float, 1>()(0) == 12.0F);
    CHECK(numbers.view({2, 12}).slice(1, 3, 3).count() == 0);
}

TEST_CASE("extents of one do not make a view less contiguous") {
    Numbers numbers;
    CHECK(numbers.view({3, 8}).slice(0, 1, 2).is_contiguous());
    CHECK_FALSE(numbers.view({3, 8}).slice(1, 0, 1).is_contiguous());
    CHECK(numbers.view({1, 8}).slice(1, 0, 3).is_contiguous());
}

TEST_CASE("views refuse what they are not") {
    Numbers numbers;
    const TensorView view = numbers.view({2, 12});
    CHECK_THROWS_WITH(view.slice(1, 3, 13), Catch::Contains("slice [3, 13) of dimension 1"));
    CHECK_THROWS_WITH(view.slice(2, 0, 1), Catch::Contains("dimension 2"));
    CHECK_THROWS_WITH(view.slice(1, 0, 6).reshape({12}), Catch::Contains("cannot see [2, 6]"));
    CHECK_THROWS_WITH(view.reshape({23}), Catch::Contains("as [23]"));
    CHECK_THROWS_WITH((view.as<double, 2>()), Catch::Contains("of f32 is used as rank 2 of f64"));
    CHECK_THROWS_WITH((view.as<float, 3>()), Catch::Contains("rank 3"));
}

TEST_CASE("an absent view is false in every form") {
    const TensorView absent;
    CHECK_FALSE(absent);
    CHECK_FALSE(ConstTensorView(absent));
    CHECK_FALSE(absent.as<float, 3>());
}

TEST_CASE("a mutable view serves as a const one") {
    Numbers numbers;
    const ConstTensorView view = numbers.view({2, 12}).slice(1, 2, 5);
    CHECK(view.as<const float, 2>()(1, 0) == 14.0F);
    CHECK(view.stride(0) == 12);
}
