// The vectorised tokenizer against its definition, byte by byte.
#include "genomics_io/tokenizer.hpp"

#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view kIupac = "RYSWKMBDHV";

/// Of one byte: its letter as the model sees it (A C G T N), 0 where it is illegal.
char letter_of(unsigned char byte) {
    const char upper = static_cast<char>(std::toupper(byte));
    if (upper == 'U') {
        return 'T';
    }
    if (std::string_view("ACGTN").find(upper) != std::string_view::npos) {
        return upper;
    }
    return kIupac.find(upper) != std::string_view::npos ? 'N' : '\0';
}

void check(const mambase::io::Tokenizer& tokenizer, std::span<const char> bases) {
    std::vector<std::uint8_t> codes(bases.size());
    const auto counts = tokenizer.encode(bases, codes.data());
    mambase::io::Tokenizer::Counts expected;
    for (std::size_t i = 0; i < bases.size(); ++i) {
        const auto byte = static_cast<unsigned char>(bases[i]);
        const char letter = byte < 0x80 ? letter_of(byte) : '\0';
        if (letter == '\0') {
            expected.bad = static_cast<std::int64_t>(i);
            break;
        }
        const bool lower = std::islower(byte) != 0;
        const char shown = lower ? static_cast<char>(std::tolower(letter)) : letter;
        if (tokenizer.letter(codes[i]) != shown) {
            std::abort();
        }
        expected.acgt += letter != 'N' ? 1 : 0;
        expected.soft_masked += lower ? 1 : 0;
        expected.ambiguous +=
            kIupac.find(static_cast<char>(std::toupper(byte))) != std::string_view::npos ? 1 : 0;
    }
    if (counts.bad != expected.bad) {
        std::abort();
    }
    if (counts.bad < 0 && (counts.acgt != expected.acgt || counts.ambiguous != expected.ambiguous ||
                           counts.soft_masked != expected.soft_masked)) {
        std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const char> bases(reinterpret_cast<const char*>(data), size);
    check(mambase::io::Tokenizer::named("dna"), bases);
    check(mambase::io::Tokenizer::named("bytes"), bases);
    return 0;
}
