#include "base/rng.hpp"

#include <catch2/catch.hpp>

using namespace mambase;

// Known answers of philox4x32-10 from the distribution of the paper's authors (Random123,
// kat_vectors).
TEST_CASE("philox gives the published known answers") {
    CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) ==
          std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
          std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("draws have the moments of their distributions") {
    const CounterRng rng(7, 3);
    double mean = 0.0;
    double square = 0.0;
    double uniform = 0.0;
    std::array<int, 5> counts{};
    constexpr int kDraws = 100000;
    for (int i = 0; i < kDraws; ++i) {
        const auto at = static_cast<std::uint64_t>(i);
        const double x = rng.normal(at);
        mean += x;
        square += x * x;
        uniform += rng.uniform(at);
        ++counts[rng.below(at, 5)];
    }
    // Standard errors: 0.0032, 0.0045, 0.0009, 127; the bounds are five of them.
    CHECK(std::abs(mean / kDraws) < 0.016);
    CHECK(std::abs(square / kDraws - 1.0) < 0.023);
    CHECK(std::abs(uniform / kDraws - 0.5) < 0.0046);
    for (const int count : counts) {
        CHECK(std::abs(count - kDraws / 5) < 635);
    }
    CHECK(CounterRng(7, 3).bits(12) == rng.bits(12));
    CHECK(CounterRng(8, 3).bits(12) != rng.bits(12));
    CHECK(CounterRng(7, 4).bits(12) != rng.bits(12));
}
