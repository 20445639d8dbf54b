#include "genomics_io/alphabet.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace mambase::io {

namespace {

constexpr std::string_view kAmbiguous = "RYSWKMBDHVN";

struct Letters {
    std::array<char, 256> complements{};
    std::array<bool, 256> bases{};
    std::array<bool, 256> ambiguous{};
};

constexpr Letters make_letters() {
    Letters letters;
    for (std::size_t byte = 0; byte < 256; ++byte) {
        letters.complements[byte] = static_cast<char>(byte);
    }
    constexpr std::string_view from = "ACGTURYSWKMBDHVN";
    constexpr std::string_view to = "TGCAAYRSWMKVHDBN";
    for (std::size_t i = 0; i < from.size(); ++i) {
        const auto upper = static_cast<std::uint8_t>(from[i]);
        letters.complements[upper] = to[i];
        letters.complements[upper | 0x20] = static_cast<char>(to[i] | 0x20);
    }
    for (const char base : std::string_view("ACGTU")) {
        letters.bases[static_cast<std::uint8_t>(base)] = true;
        letters.bases[static_cast<std::uint8_t>(base) | 0x20] = true;
    }
    for (const char code : kAmbiguous) {
        letters.ambiguous[static_cast<std::uint8_t>(code)] = true;
        letters.ambiguous[static_cast<std::uint8_t>(code) | 0x20] = true;
    }
    return letters;
}

constexpr Letters kLetters = make_letters();

}  // namespace

bool is_base(char letter) {
    return kLetters.bases[static_cast<std::uint8_t>(letter)];
}

bool is_ambiguous(char letter) {
    return kLetters.ambiguous[static_cast<std::uint8_t>(letter)];
}

char complement(char letter) {
    return kLetters.complements[static_cast<std::uint8_t>(letter)];
}

void reverse_complement(std::span<char> bases) {
    std::reverse(bases.begin(), bases.end());
    for (char& base : bases) {
        base = complement(base);
    }
}

}  // namespace mambase::io
