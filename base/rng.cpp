#include "base/rng.hpp"

#include <cmath>
#include <numbers>

namespace mambase {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
    constexpr std::uint64_t multiply_0 = 0xD2511F53U;
    constexpr std::uint64_t multiply_1 = 0xCD9E8D57U;
    constexpr std::uint32_t weyl_0 = 0x9E3779B9U;
    constexpr std::uint32_t weyl_1 = 0xBB67AE85U;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = multiply_0 * counter[0];
        const std::uint64_t product1 = multiply_1 * counter[2];
        counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
                   static_cast<std::uint32_t>(product1),
                   static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
                   static_cast<std::uint32_t>(product0)};
        key = {key[0] + weyl_0, key[1] + weyl_1};
    }
    return counter;
}

namespace {

std::array<std::uint32_t, 4> draw(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
    return philox4x32(
        {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
         static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
        {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

double unit(std::uint32_t low, std::uint32_t high) {
    const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32) | low;
    return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

}  // namespace

std::uint64_t CounterRng::bits(std::uint64_t counter) const {
    const auto words = draw(seed_, stream_, counter);
    return (static_cast<std::uint64_t>(words[1]) << 32) | words[0];
}

double CounterRng::uniform(std::uint64_t counter) const {
    const auto words = draw(seed_, stream_, counter);
    return unit(words[0], words[1]);
}

std::uint64_t CounterRng::below(std::uint64_t counter, std::uint64_t n) const {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(bits(counter)) * n) >> 64);
}

double CounterRng::normal(std::uint64_t counter) const {
    const auto words = draw(seed_, stream_, counter);
    const double radius = std::sqrt(-2.0 * std::log1p(-unit(words[0], words[1])));
    return radius * std::cos(2.0 * std::numbers::pi * unit(words[2], words[3]));
}

}  // namespace mambase
