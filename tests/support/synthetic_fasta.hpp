// Sequence for tests, made on the fly and the same each time.
#pragma once

#include "base/rng.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mambase::test {

/// `unit` over and over.
inline std::string periodic_bases(std::string_view unit, std::size_t length) {
    std::string out;
    while (out.size() < length) {
        out += unit;
    }
    out.resize(length);
    return out;
}

/// Bases whose next one depends on the two before: there is something to learn, and noise.
inline std::string markov_bases(std::size_t length, std::uint64_t seed) {
    constexpr std::string_view kLetters = "ACGT";
    const CounterRng rng(seed, 1);
    std::string out;
    std::uint64_t before = 0;
    for (std::uint64_t i = 0; i < length; ++i) {
        const std::uint64_t likely = (before * 7 + before / 4) % 4;
        const std::uint64_t next = rng.uniform(2 * i) < 0.7 ? likely : rng.below(2 * i + 1, 4);
        out += kLetters[next];
        before = (before * 4 + next) % 16;
    }
    return out;
}

/// A record of lines of 60.
inline std::string fasta_record(std::string_view name, std::string_view bases) {
    std::string out = ">" + std::string(name) + "\n";
    for (std::size_t begin = 0; begin < bases.size(); begin += 60) {
        out += bases.substr(begin, 60);
        out += '\n';
    }
    return out;
}

}  // namespace mambase::test
