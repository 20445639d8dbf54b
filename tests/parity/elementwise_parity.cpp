#include "kernels/ops/elementwise.hpp"
#include "tests/parity/errors.hpp"
#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

// Types are arguments, so there is nothing that bf16 activations could change.
std::vector<Backend> tested_backends() {
    return in_f32(scalar_and_devices("elementwise", &ops::OpTable::cast, &ops::OpTable::fill,
                                     &ops::OpTable::add, &ops::OpTable::norm_sq));
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const std::int64_t kCounts[] = {0, 1, 3, 16383, 16384, 16385, 40000};

Tensor cast_to(Run& run, const Tensor& x, DType dtype) {
    Tensor y(host_allocator(), dtype, x.shape(), "test");
    ops::cast(run.context(), {x.view(), y.view()});
    return y;
}

/// The bf16 that is nearest to x, of two equally near the even one; by search, not by bits.
double nearest_bf16(double x) {
    const double low = std::ldexp(std::floor(std::ldexp(x, 7 - std::ilogb(x))), std::ilogb(x) - 7);
    const double high = low + std::ldexp(1.0, std::ilogb(x) - 7);
    if (x - low != high - x) {
        return x - low < high - x ? low : high;
    }
    return std::fmod(std::ldexp(low, 7 - std::ilogb(x)), 2.0) == 0.0 ? low : high;
}

void check_f32_f64(const Backend& backend) {
    for (const std::int64_t count : kCounts) {
        for (const int threads : {1, 3}) {
            Run run(backend, threads);
            const Tensor x = normal_tensor({count}, 1, 1);
            const Tensor wide = cast_to(run, x, DType::f64);
            CHECK(relative_error(wide.view(), to_array(x.view())) == 0.0);
            CHECK(same_bits(cast_to(run, wide, DType::f32).view(), x.view()));
        }
    }
    Run run(backend);
    const Tensor precise = from_array(DType::f64, Array({1}, 1.0 + 0x1p-24 + 0x1p-40));
    CHECK(to_array(cast_to(run, precise, DType::f32).view())(0) == 1.0 + 0x1p-23);
}

void check_bf16(const Backend& backend) {
    Run run(backend);
    const Tensor x = normal_tensor({5000}, 1, 1, 100.0);
    Array expected = to_array(x.view());
    for (double& value : expected.values) {
        value = nearest_bf16(value);
    }
    const Tensor narrow = cast_to(run, x, DType::bf16);
    CHECK(relative_error(narrow.view(), expected) == 0.0);
    CHECK(relative_error(cast_to(run, narrow, DType::f32).view(), expected) == 0.0);

    Array special({8});
    special.values = {
        1.0 + 0x1p-8, 1.0 + 0x3p-8, -1.0 - 0x1p-8, 0.0,
        -0.0,         kInfinity,    -kInfinity,    static_cast<double>(0x1.fffffep127F)};
    const Array cast = to_array(cast_to(run, from_array(DType::f32, special), DType::bf16).view());
    CHECK(cast.values[0] == 1.0);
    CHECK(cast.values[1] == 1.0 + 0x1p-6);
    CHECK(cast.values[2] == -1.0);
    CHECK(std::signbit(cast.values[4]));
    CHECK(cast.values[5] == kInfinity);
    CHECK(cast.values[6] == -kInfinity);
    CHECK(cast.values[7] == kInfinity);

    for (const std::uint32_t bits : {0x7FC00000U, 0x7F800001U, 0xFFFFFFFFU}) {  // quiet, signalling
        Tensor nan = filled(DType::f32, {1}, 0.0);
        std::memcpy(nan.view().data(), &bits, sizeof(bits));
        CHECK(std::isnan(to_array(cast_to(run, nan, DType::bf16).view())(0)));
    }
}

void check_norm_sq(const Backend& backend, std::int64_t count) {
    const Tensor x = normal_tensor({count}, 1, 1);
    const Array values = to_array(x.view());
    const Array expected({1}, inner_product(values, values));
    Run single(backend);
    const Tensor wide = cast_to(single, x, DType::f64);
    Tensor first = filled(DType::f64, {1}, -1.0);
    ops::norm_sq(single.context(), {x.view(), first.view()});
    Errors{backend, "norm_sq"}.values("sum", first.view(), expected, kDouble);
    std::vector<int> counts = thread_counts(backend);
    counts.push_back(1);
    for (const int threads : counts) {
        Run run(backend, threads);
        for (const Tensor* const input : {&x, &wide}) {
            Tensor sum = filled(DType::f64, {1}, -1.0);
            ops::norm_sq(run.context(), {input->view(), sum.view()});
            CHECK(same_bits(sum.view(), first.view()));
        }
    }
}

}  // namespace

TEST_CASE("cast between f32 and f64 is exact one way and rounds the other") {
    for (const Backend& backend : tested_backends()) {
        INFO(backend.name());
        check_f32_f64(backend);
    }
}

TEST_CASE("cast to bf16 rounds to the nearest, ties to even") {
    for (const Backend& backend : tested_backends()) {
        INFO(backend.name());
        check_bf16(backend);
    }
}

TEST_CASE("fill writes every element of each type") {
    for (const Backend& backend : tested_backends()) {
        Run run(backend, 3);
        for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8}) {
            for (const std::int64_t count : kCounts) {
                INFO(replay_line(backend, name(dtype), " [", count, "]"));
                Tensor y = filled(dtype, {count}, 1.0);
                ops::fill(run.context(), {y.view(), 7.0});
                CHECK(relative_error(y.view(), Array({count}, 7.0)) == 0.0);
            }
        }
    }
}

TEST_CASE("add adds every element") {
    for (const Backend& backend : tested_backends()) {
        Run run(backend, 3);
        for (const std::int64_t count : kCounts) {
            INFO(replay_line(backend, "add [", count, "]"));
            const Array x = to_array(normal_tensor({count}, 1, 1).view());
            Array expected = to_array(normal_tensor({count}, 1, 2).view());
            Tensor y = from_array(DType::f64, expected);
            add_to(expected, x);
            ops::add(run.context(), {from_array(DType::f64, x).view(), y.view()});
            CHECK(relative_error(y.view(), expected) == 0.0);
        }
    }
}

TEST_CASE("norm_sq agrees with its reference and does not depend on threads") {
    for (const Backend& backend : tested_backends()) {
        for (const std::int64_t count : kCounts) {
            INFO(replay_line(backend, "norm_sq [", count, "]"));
            check_norm_sq(backend, count);
        }
    }
}
