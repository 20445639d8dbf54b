#include "genomics_io/tokenizer.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

namespace mambase::io {

/// A tokenizer is a row of kSpecs below, and nothing else.
struct Tokenizer::Spec {
    std::string_view name;
    int vocab_size;
    std::array<std::uint8_t, 4> acgt;
    std::uint8_t n;
};

namespace {

constexpr std::uint8_t kIllegal = 0;  // no tokenizer uses this id for a letter
constexpr char kLowerBit = 0x20;

char upper(char letter) {
    return static_cast<char>(letter & ~kLowerBit);
}

// Sixteen bases at a time, in the compilers' own vector type, which every machine has: measured ten
// times the rate of a loop that is left to the optimiser, and wider vectors gain nothing, since the
// bases come from memory by way of HTSlib.
using Bytes = std::uint8_t __attribute__((vector_size(16)));
constexpr std::size_t kLanes = sizeof(Bytes);
constexpr std::size_t kBlock = 16 * kLanes;  // a lane counts to 16, so eight lanes fit one byte

Bytes every(std::uint8_t byte) {
    return byte - Bytes{};
}

/// All bits of the lanes in which both are the same.
Bytes same(Bytes a, Bytes b) {
    return reinterpret_cast<Bytes>(a == b);
}

std::int64_t sum(Bytes counts) {
    std::array<std::uint64_t, 2> halves{};
    std::memcpy(halves.data(), &counts, sizeof counts);
    constexpr std::uint64_t kOnes = 0x0101010101010101U;
    return static_cast<std::int64_t>((halves[0] * kOnes >> 56) + (halves[1] * kOnes >> 56));
}

bool any(Bytes mask) {
    std::array<std::uint64_t, 2> halves{};
    std::memcpy(halves.data(), &mask, sizeof mask);
    return (halves[0] | halves[1]) != 0;
}

/// One block of A C G T U N, either case. False, with counts untouched, where it holds anything
/// else.
bool encode_block(const char* bases,
                  std::array<std::uint8_t, 4> acgt,
                  std::uint8_t n,
                  std::uint8_t* codes,
                  Tokenizer::Counts& counts) {
    Bytes illegal{};
    Bytes is_n{};
    Bytes lower{};
    for (std::size_t i = 0; i < kBlock; i += kLanes) {
        Bytes bytes;
        std::memcpy(&bytes, bases + i, sizeof bytes);
        const Bytes letter = bytes & every(0xDF);
        const Bytes letter_n = same(letter, every('N'));
        const Bytes id = (same(letter, every('A')) & every(acgt[0])) |
                         (same(letter, every('C')) & every(acgt[1])) |
                         (same(letter, every('G')) & every(acgt[2])) |
                         ((same(letter, every('T')) | same(letter, every('U'))) & every(acgt[3])) |
                         (letter_n & every(n));
        const Bytes case_bit = bytes & every(0x20);
        const Bytes code = id | (case_bit << 2);  // 0x20 becomes kSoftMask
        std::memcpy(codes + i, &code, sizeof code);
        illegal |= same(id, every(kIllegal));
        is_n += letter_n & every(1);
        lower += case_bit >> 5;
    }
    if (any(illegal)) {
        return false;
    }
    counts.acgt += static_cast<std::int64_t>(kBlock) - sum(is_n);
    counts.soft_masked += sum(lower);
    return true;
}

}  // namespace

Tokenizer::Tokenizer(const Spec& spec)
    : name_(spec.name), vocab_size_(spec.vocab_size), acgt_(spec.acgt), n_(spec.n) {
    for (std::size_t byte = 0; byte < 128; ++byte) {  // ASCII: the other half stays illegal
        const char letter = static_cast<char>(byte);
        const std::size_t base = std::string_view("ACGTU").find(upper(letter));
        const bool known = is_base(letter);
        if (known || is_ambiguous(letter)) {
            const std::uint8_t id = known ? acgt_[base < 4 ? base : 3] : n_;
            const bool lower = (letter & kLowerBit) != 0;
            codes_[byte] = static_cast<std::uint8_t>(id | (lower ? kSoftMask : 0));
        }
    }
    complements_.fill(n_);
    for (std::size_t base = 0; base < 4; ++base) {
        complements_[acgt_[base]] = acgt_[3 - base];
    }
}

const Tokenizer& Tokenizer::named(std::string_view name) {
    static const std::vector<Tokenizer> tokenizers = [] {
        constexpr std::array<Spec, 2> kSpecs{{
            {"dna", 16, {7, 8, 9, 10}, 11},
            {"bytes", 256, {'A', 'C', 'G', 'T'}, 'N'},
        }};
        std::vector<Tokenizer> made;
        for (const Spec& spec : kSpecs) {
            made.push_back(Tokenizer(spec));
        }
        return made;
    }();
    std::string known;
    for (const Tokenizer& tokenizer : tokenizers) {
        if (tokenizer.name() == name) {
            return tokenizer;
        }
        known += concat(known.empty() ? "" : ", ", tokenizer.name());
    }
    throw Error(ErrorCode::not_found,
                concat("there is no tokenizer '", name, "'; there are ", known));
}

std::string Tokenizer::hash() const {
    std::uint64_t hash = 0xCBF29CE484222325U;
    for (const std::uint8_t code : codes_) {
        hash = (hash ^ code) * 0x100000001B3U;
    }
    std::string text(16, '0');
    for (std::size_t i = 16; i-- > 0; hash >>= 4) {
        text[i] = "0123456789abcdef"[hash & 0xF];
    }
    return text;
}

char Tokenizer::letter(std::uint8_t code) const {
    const auto id = static_cast<std::uint8_t>(code & ~kSoftMask);
    const char lower = (code & kSoftMask) != 0 ? kLowerBit : '\0';
    for (std::size_t base = 0; base < 4; ++base) {
        if (acgt_[base] == id) {
            return static_cast<char>("ACGT"[base] | lower);
        }
    }
    return id == n_ ? static_cast<char>('N' | lower) : '?';
}

Tokenizer::Counts Tokenizer::encode(std::span<const char> bases, std::uint8_t* codes) const {
    Counts counts;
    const std::size_t n = bases.size();
    for (std::size_t at = 0; at < n;) {
        if (n - at >= kBlock && encode_block(bases.data() + at, acgt_, n_, codes + at, counts)) {
            at += kBlock;
            continue;
        }
        for (const std::size_t end = at + std::min(kBlock, n - at); at < end; ++at) {
            const std::uint8_t code = codes_[static_cast<std::uint8_t>(bases[at])];
            codes[at] = code;
            if (code == kIllegal) {
                counts.bad = static_cast<std::int64_t>(at);
                return counts;
            }
            const bool acgt = is_acgt(code);
            counts.acgt += acgt ? 1 : 0;
            counts.ambiguous += acgt || upper(bases[at]) == 'N' ? 0 : 1;
            counts.soft_masked += code >> 7;
        }
    }
    return counts;
}

}  // namespace mambase::io
