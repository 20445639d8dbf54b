#include "genomics_io/alphabet.hpp"

#include <string>
#include <string_view>

#include <catch2/catch.hpp>

using namespace mambase::io;

TEST_CASE("the complement of an IUPAC code is the code of the complementary bases") {
    // Each code with the bases it stands for (Cornish-Bowden 1985, table 1).
    const std::string_view codes = "ACGTRYSWKMBDHVN";
    const std::string_view bases[] = {"A",  "C",  "G",   "T",   "AG",  "CT",  "CG",  "AT",
                                      "GT", "AC", "CGT", "AGT", "ACT", "ACG", "ACGT"};
    for (std::size_t i = 0; i < codes.size(); ++i) {
        CAPTURE(codes[i]);
        std::string expected;
        for (const char base : std::string_view("ACGT")) {
            const char partner = "TGCA"[std::string_view("ACGT").find(base)];
            if (bases[i].find(partner) != std::string_view::npos) {
                expected.push_back(base);
            }
        }
        const char other = complement(codes[i]);
        const std::size_t at = codes.find(other);
        REQUIRE(at != std::string_view::npos);
        CHECK(bases[at] == expected);
        const char lower = static_cast<char>(codes[i] | 0x20);
        CHECK(complement(lower) == static_cast<char>(other | 0x20));
        CHECK(is_base(codes[i]) == (i < 4));
        CHECK(is_ambiguous(lower) == (i >= 4));
    }
}

TEST_CASE("U is a base, and what is no code stays as it is") {
    CHECK(is_base('U'));
    CHECK(complement('u') == 'a');
    for (int byte = 0; byte < 256; ++byte) {
        const char letter = static_cast<char>(byte);
        if (!is_base(letter) && !is_ambiguous(letter)) {
            CHECK(complement(letter) == letter);
        }
    }
    std::string bases = "AAcg*N";
    reverse_complement(bases);
    CHECK(bases == "N*cgTT");
}
