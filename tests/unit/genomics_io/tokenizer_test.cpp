#include "genomics_io/tokenizer.hpp"

#include "genomics_io/alphabet.hpp"
#include "tests/unit/genomics_io/sequence_files.hpp"

#include <cctype>

using namespace mambase;
using namespace mambase::io;

namespace {

constexpr const char* kNames[] = {"dna", "bytes"};

/// The policy in words of cli.md, one letter at a time.
int expected_code(const Tokenizer& tokenizer, char letter) {
    const int mask = std::islower(static_cast<unsigned char>(letter)) != 0 ? kSoftMask : 0;
    switch (std::toupper(static_cast<unsigned char>(letter))) {
        case 'A':
            return tokenizer.acgt()[0] | mask;
        case 'C':
            return tokenizer.acgt()[1] | mask;
        case 'G':
            return tokenizer.acgt()[2] | mask;
        case 'T':
        case 'U':
            return tokenizer.acgt()[3] | mask;
        default:
            return is_ambiguous(letter) ? tokenizer.n() | mask : -1;
    }
}

}  // namespace

TEST_CASE("the ids of the tokenizers are fixed, and so are their hashes") {
    const Tokenizer& dna = Tokenizer::named("dna");
    CHECK(dna.acgt() == std::array<std::uint8_t, 4>{7, 8, 9, 10});
    CHECK(dna.n() == 11);
    CHECK(dna.vocab_size() == 16);
    const Tokenizer& bytes = Tokenizer::named("bytes");
    CHECK(bytes.acgt() == std::array<std::uint8_t, 4>{65, 67, 71, 84});
    CHECK(bytes.n() == 78);
    CHECK(bytes.vocab_size() == 256);
    // Models carry the hash: a change of these makes every model of that tokenizer unreadable.
    CHECK(dna.hash() == "e7dd3fae636ee739");
    CHECK(bytes.hash() == "97c10151b6cd3315");
    CHECK(test::error_of([] { Tokenizer::named("bpe"); }) ==
          "not_found: there is no tokenizer 'bpe'; there are dna, bytes");
}

TEST_CASE("every byte at every place of a block reads as the table says") {
    for (const char* const name : kNames) {
        const Tokenizer& tokenizer = Tokenizer::named(name);
        for (int byte = 0; byte < 256; ++byte) {
            const char letter = static_cast<char>(byte);
            const int expected = expected_code(tokenizer, letter);
            for (const std::size_t at : {0, 1, 31, 32, 511, 512, 513, 1023, 1024, 1099}) {
                std::string bases(1100, 'g');
                bases[at] = letter;
                std::vector<std::uint8_t> codes(bases.size());
                const Tokenizer::Counts counts = tokenizer.encode(bases, codes.data());
                CAPTURE(name, byte, at);
                REQUIRE(counts.bad == (expected < 0 ? static_cast<std::int64_t>(at) : -1));
                if (expected >= 0) {
                    REQUIRE(codes[at] == expected);
                    REQUIRE(counts.ambiguous ==
                            (is_ambiguous(letter) && letter != 'N' && letter != 'n' ? 1 : 0));
                    REQUIRE(counts.acgt == 1099 + (is_base(letter) ? 1 : 0));
                    REQUIRE(counts.soft_masked == 1099 + (expected >> 7));
                }
            }
        }
    }
}

TEST_CASE("codes of random sequence, of any length and alignment, are those of its letters") {
    std::mt19937 random(3);
    for (const char* const name : kNames) {
        const Tokenizer& tokenizer = Tokenizer::named(name);
        const std::string all = test::random_bases(random, 5000, 20);
        for (int i = 0; i < 500; ++i) {
            const std::size_t from = random() % 700;
            const std::string bases = all.substr(from, random() % 2500);
            std::vector<std::uint8_t> codes(bases.size() + 1, 0xEE);
            const Tokenizer::Counts counts = tokenizer.encode(bases, codes.data());
            std::int64_t acgt = 0;
            for (std::size_t k = 0; k < bases.size(); ++k) {
                REQUIRE(codes[k] == expected_code(tokenizer, bases[k]));
                REQUIRE(tokenizer.is_acgt(codes[k]) == is_base(bases[k]));
                acgt += is_base(bases[k]) ? 1 : 0;
            }
            REQUIRE(codes.back() == 0xEE);
            REQUIRE(counts.acgt == acgt);
            REQUIRE(counts.bad == -1);
        }
    }
}

TEST_CASE("the first illegal byte is the one that is told") {
    const std::string bases = std::string(100, 'A') + "*" + std::string(100, 'A') + "-";
    std::vector<std::uint8_t> codes(bases.size());
    CHECK(Tokenizer::named("dna").encode(bases, codes.data()).bad == 100);
    CHECK(Tokenizer::named("dna").encode({}, codes.data()).bad == -1);
}

TEST_CASE("complement and letter of a code agree with those of the alphabet") {
    for (const char* const name : kNames) {
        const Tokenizer& tokenizer = Tokenizer::named(name);
        for (const char letter : std::string_view("ACGTNacgtn")) {
            std::uint8_t code = 0;
            tokenizer.encode({&letter, 1}, &code);
            CHECK(tokenizer.letter(code) == letter);
            CHECK(tokenizer.letter(tokenizer.complement(code)) == complement(letter));
            CHECK((code & 0x7F) < tokenizer.vocab_size());
        }
        CHECK(tokenizer.letter(0) == '?');
        CHECK_FALSE(tokenizer.is_acgt(0));
    }
}
