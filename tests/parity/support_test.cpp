// The tools that the parity tests measure with have to fail when they should.
#include "tests/support/tensor_tools.hpp"

#include <cmath>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

TEST_CASE("a NaN or an infinity that one side lacks is an infinite error") {
    const Array good({2}, 1.0);
    for (const double bad : {std::nan(""), HUGE_VAL}) {
        Array other = good;
        other(1) = bad;
        CHECK(std::isinf(relative_error(other, good)));
        CHECK(std::isinf(relative_error(good, other)));
        CHECK(std::isinf(relative_norm_error(other, good)));
    }
    CHECK(std::isinf(relative_error(Array({1}, 1.0), good)));
}

TEST_CASE("a strided tensor leaves its gaps alone and notices who does not") {
    StridedTensor strided(normal_tensor({2, 3}, 1, 2), 2, std::nan(""));
    CHECK(same_bits(strided.view(), normal_tensor({2, 3}, 1, 2).view()));
    CHECK(strided.gaps_untouched());
    static_cast<float*>(strided.view().data())[3] = 0.0F;
    CHECK_FALSE(strided.gaps_untouched());
}

TEST_CASE("central differences find the gradient of an inner product") {
    Array x = to_array(normal_tensor({3, 2}, 1, 1).view());
    const Array y = to_array(normal_tensor({3, 2}, 1, 2).view());
    CHECK(relative_error(central_differences(x, [&] { return inner_product(x, y); }), y) < 1e-9);
}
