// exp, softplus and the logistic function of every SIMD level against double precision, over their
// whole ranges.
#include "kernels/cpu/simd/sequence_kernels.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

const cpu::SequenceKernels& kernels(cpu::SimdLevel level) {
    switch (level) {
        case cpu::SimdLevel::scalar:
            return cpu::sequence_kernels<cpu::SimdLevel::scalar>();
        case cpu::SimdLevel::avx2:
            return cpu::sequence_kernels<cpu::SimdLevel::avx2>();
        case cpu::SimdLevel::avx512:
            break;
    }
    return cpu::sequence_kernels<cpu::SimdLevel::avx512>();
}

/// Every `step`th float from -largest to -smallest and, if asked, their opposites.
std::vector<float> floats(float smallest, float largest, bool both_signs) {
    std::vector<float> values;
    const auto lo = std::bit_cast<std::uint32_t>(smallest);
    const auto hi = std::bit_cast<std::uint32_t>(largest);
    for (std::uint32_t bits = lo; bits <= hi; bits += 509) {
        const auto value = std::bit_cast<float>(bits);
        values.push_back(-value);
        if (both_signs) {
            values.push_back(value);
        }
    }
    return values;
}

using Function = void (*)(const float*, float*, std::int64_t);

std::vector<float> evaluate(Function function, const std::vector<float>& x) {
    std::vector<float> y(x.size());
    function(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
    return y;
}

template <class Expected>
double largest_relative_error(Function function,
                              const std::vector<float>& x,
                              const Expected& expected) {
    const std::vector<float> y = evaluate(function, x);
    double largest = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double truth = expected(static_cast<double>(x[i]));
        const double error = std::abs(static_cast<double>(y[i]) - truth) / truth;
        largest = std::isfinite(error) ? std::max(largest, error) : 1.0;
    }
    return largest;
}

double softplus(double x) {
    return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
}
double logistic(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}

// Without fma, at the scalar level, every step of a polynomial rounds twice.
double bound(cpu::SimdLevel level, double with_fma) {
    return level == cpu::SimdLevel::scalar ? 1.4 * with_fma : with_fma;
}

constexpr float kTiny = 1e-30F;

}  // namespace

TEST_CASE("exp2 and exp keep their relative accuracy over the whole range") {
    for (const cpu::SimdLevel level : supported_levels()) {
        INFO(cpu::name(level));
        const auto exp2 = [](double x) { return std::exp2(x); };
        const auto exp = [](double x) { return std::exp(x); };
        CHECK(largest_relative_error(kernels(level).exp2_nonpositive, floats(kTiny, 125.5F, false),
                                     exp2) < bound(level, 2e-7));
        CHECK(largest_relative_error(kernels(level).exp, floats(kTiny, 87.0F, true), exp) <
              bound(level, 1.3e-7));
    }
}

TEST_CASE("1 - exp2(u) keeps its relative accuracy near 0") {
    for (const cpu::SimdLevel level : supported_levels()) {
        INFO(cpu::name(level));
        const std::vector<float> x = floats(0x1p-8F, 0.5F, false);
        const std::vector<float> y = evaluate(kernels(level).exp2_nonpositive, x);
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double truth = -std::expm1(static_cast<double>(x[i]) * std::log(2.0));
            const double lost = 1.0 - static_cast<double>(y[i]);
            // Half a unit in the last place of a float below 1, and what the polynomial loses.
            REQUIRE(std::abs(lost - truth) < 0x1p-25 + bound(level, 5e-7) * truth);
        }
        const std::vector<float> zero = evaluate(kernels(level).exp2_nonpositive, {0.0F, -0.0F});
        CHECK(zero[0] == 1.0F);
        CHECK(zero[1] == 1.0F);
    }
}

TEST_CASE("softplus and logistic keep their relative accuracy over the whole range") {
    for (const cpu::SimdLevel level : supported_levels()) {
        INFO(cpu::name(level));
        CHECK(largest_relative_error(kernels(level).softplus, floats(kTiny, 86.0F, true),
                                     softplus) < bound(level, 2.2e-7));
        CHECK(largest_relative_error(kernels(level).logistic, floats(kTiny, 86.0F, true),
                                     logistic) < bound(level, 2.5e-7));
    }
}

TEST_CASE("the ends of the range: zero, infinity, NaN") {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    for (const cpu::SimdLevel level : supported_levels()) {
        INFO(cpu::name(level));
        set_flush_denormals();
        const std::vector<float> low = {-1e30F, -kInfinity, -128.0F, -127.0F, -126.6F, -126.4F};
        for (const float value : evaluate(kernels(level).exp2_nonpositive, low)) {
            CHECK(value + 0.0F == 0.0F);  // what is left counts as zero in any sum or product
        }
        for (const Function function : {kernels(level).exp2_nonpositive, kernels(level).exp,
                                        kernels(level).softplus, kernels(level).logistic}) {
            CHECK(std::isnan(evaluate(function, {kNan})[0]));
        }
        const std::vector<float> x = {-kInfinity, -1000.0F, 1000.0F, 21.0F, kInfinity};
        const std::vector<float> plus = evaluate(kernels(level).softplus, x);
        CHECK(plus[0] + 0.0F == 0.0F);
        CHECK(plus[1] + 0.0F == 0.0F);
        CHECK(plus[2] == 1000.0F);
        CHECK(plus[3] == 21.0F);
        CHECK(plus[4] == kInfinity);
        const std::vector<float> sigma = evaluate(kernels(level).logistic, x);
        CHECK(sigma[0] + 0.0F == 0.0F);
        CHECK(sigma[1] + 0.0F == 0.0F);
        CHECK(sigma[2] == 1.0F);
        CHECK(sigma[4] == 1.0F);
    }
}

TEST_CASE("an element's bits do not depend on where it stands") {
    for (const cpu::SimdLevel level : supported_levels()) {
        INFO(cpu::name(level));
        std::vector<float> x = floats(1e-3F, 30.0F, true);
        x.resize(997);
        const std::vector<float> whole = evaluate(kernels(level).softplus, x);
        for (const std::size_t first : {1, 3, 7, 15, 990}) {
            const std::vector<float> part(x.begin() + static_cast<std::ptrdiff_t>(first), x.end());
            const std::vector<float> y = evaluate(kernels(level).softplus, part);
            CHECK(
                std::equal(y.begin(), y.end(), whole.begin() + static_cast<std::ptrdiff_t>(first)));
        }
    }
}
