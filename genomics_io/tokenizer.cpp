#include "genomics_io/tokenizer.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"

#include <algorithm>
#include <cstddef>
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

constexpr std::size_t kBlock = 64;  // bases a step of the fast path; a byte can count that many

struct BlockCounts {
    unsigned illegal;  // or an IUPAC code other than N
    unsigned n;
    unsigned soft_masked;
};

/// One block of A C G T U N, either case. The trip count is fixed and there is no branch, so that
/// compilers turn it into vector code on every machine (no intrinsics: see tests/bench/io_bench).
inline BlockCounts encode_block(const char* bases,
                                std::array<std::uint8_t, 4> acgt,
                                std::uint8_t n,
                                std::uint8_t* codes) {
    std::uint8_t illegal = 0;
    std::uint8_t is_n = 0;
    std::uint8_t soft_masked = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
        const auto byte = static_cast<std::uint8_t>(bases[i]);
        const auto letter = static_cast<std::uint8_t>(byte & 0xDF);
        const auto id = static_cast<std::uint8_t>(
            (letter == 'A' ? acgt[0] : 0) | (letter == 'C' ? acgt[1] : 0) |
            (letter == 'G' ? acgt[2] : 0) | (letter == 'T' ? acgt[3] : 0) |
            (letter == 'U' ? acgt[3] : 0) | (letter == 'N' ? n : 0));
        const auto soft = static_cast<std::uint8_t>((byte & 0x20) << 2);
        codes[i] = static_cast<std::uint8_t>(id | soft);
        illegal = static_cast<std::uint8_t>(illegal + (id == kIllegal ? 1 : 0));
        is_n = static_cast<std::uint8_t>(is_n + (letter == 'N' ? 1 : 0));
        soft_masked = static_cast<std::uint8_t>(soft_masked + (soft >> 7));
    }
    return {illegal, is_n, soft_masked};
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
        if (n - at >= kBlock) {
            const BlockCounts block = encode_block(bases.data() + at, acgt_, n_, codes + at);
            if (block.illegal == 0) {
                counts.acgt += kBlock - block.n;
                counts.soft_masked += block.soft_masked;
                at += kBlock;
                continue;
            }
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
