#include "genomics_io/tokenizer.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/alphabet.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mambase::io {

/// A tokenizer is a row of the table in named(), and nothing else.
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

/// Bases a step; where the fast way finds a letter that it does not know, a step goes by the table.
constexpr std::size_t kBlock = 512;

#if defined(__x86_64__)

[[gnu::target("avx2")]] std::int64_t sum_of_lanes(__m256i counts) {
    const __m256i sums = _mm256_sad_epu8(counts, _mm256_setzero_si256());
    return _mm256_extract_epi64(sums, 0) + _mm256_extract_epi64(sums, 1) +
           _mm256_extract_epi64(sums, 2) + _mm256_extract_epi64(sums, 3);
}

[[gnu::target("avx2")]] __m256i twice(const std::array<std::uint8_t, 16>& table) {
    return _mm256_broadcastsi128_si256(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(table.data())));
}

/// A block of A C G T U N, either case, whole vectors of at most kBlock; false, with counts
/// untouched, where it holds anything else. `letters` and `ids` by the low four bits of a letter,
/// which differ for all six: one shuffle says which letter a byte has to be, and another gives its
/// id.
[[gnu::target("avx2")]] bool encode_block(const char* bases,
                                          std::size_t block,
                                          __m256i letters,
                                          __m256i ids,
                                          std::uint8_t* codes,
                                          Tokenizer::Counts& counts) {
    constexpr std::size_t lanes = sizeof(__m256i);
    static_assert(kBlock / lanes <= 255);  // what a lane can count
    __m256i legal = _mm256_set1_epi8(-1);
    __m256i n_count = _mm256_setzero_si256();
    __m256i lower_count = _mm256_setzero_si256();
    for (std::size_t i = 0; i < block; i += lanes) {
        const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bases + i));
        const __m256i upper_case = _mm256_andnot_si256(_mm256_set1_epi8(kLowerBit), bytes);
        const __m256i low = _mm256_and_si256(bytes, _mm256_set1_epi8(0x0F));
        const __m256i letter = _mm256_shuffle_epi8(letters, low);
        legal = _mm256_and_si256(legal, _mm256_cmpeq_epi8(upper_case, letter));
        const __m256i is_lower = _mm256_and_si256(bytes, _mm256_set1_epi8(kLowerBit));
        const __m256i code = _mm256_or_si256(_mm256_shuffle_epi8(ids, low),
                                             _mm256_slli_epi16(is_lower, 2));  // kSoftMask
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + i), code);
        const __m256i is_n = _mm256_cmpeq_epi8(upper_case, _mm256_set1_epi8('N'));
        n_count = _mm256_sub_epi8(n_count, is_n);
        lower_count = _mm256_add_epi8(lower_count, _mm256_srli_epi16(is_lower, 5));
    }
    if (_mm256_movemask_epi8(legal) != -1) {
        return false;
    }
    counts.acgt += static_cast<std::int64_t>(block) - sum_of_lanes(n_count);
    counts.soft_masked += sum_of_lanes(lower_count);
    return true;
}

/// Encodes whole vectors from the front while their blocks are plain; returns how many bases that
/// was. 2.5 times the rate of the table, which alone would halve the rate of reading.
[[gnu::target("avx2")]] std::size_t encode_avx2(std::span<const char> bases,
                                                std::array<std::uint8_t, 4> acgt,
                                                std::uint8_t n,
                                                std::uint8_t* codes,
                                                Tokenizer::Counts& counts) {
    std::array<std::uint8_t, 16> letters{};
    std::array<std::uint8_t, 16> ids{};
    letters[0] = 0xFF;  // so that a byte of zero, or a blank, is no letter
    for (const auto& [letter, id] :
         {std::pair('A', acgt[0]), std::pair('C', acgt[1]), std::pair('G', acgt[2]),
          std::pair('T', acgt[3]), std::pair('U', acgt[3]), std::pair('N', n)}) {
        letters[letter & 0xF] = static_cast<std::uint8_t>(letter);
        ids[letter & 0xF] = id;
    }
    const __m256i letter_table = twice(letters);
    const __m256i id_table = twice(ids);
    const std::size_t whole = bases.size() / sizeof(__m256i) * sizeof(__m256i);
    std::size_t at = 0;
    while (at < whole) {
        const std::size_t block = std::min(kBlock, whole - at);
        if (!encode_block(bases.data() + at, block, letter_table, id_table, codes + at, counts)) {
            break;
        }
        at += block;
    }
    return at;
}

#endif

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
        constexpr std::array<Spec, 2> specs{{
            {"dna", 16, {7, 8, 9, 10}, 11},
            {"bytes", 256, {'A', 'C', 'G', 'T'}, 'N'},
        }};
        std::vector<Tokenizer> made;
        made.reserve(specs.size());
        for (const Spec& spec : specs) {
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
    for (std::size_t at = 0; at < bases.size();) {
#if defined(__x86_64__)
        static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
        if (has_avx2) {
            at += encode_avx2(bases.subspan(at), acgt_, n_, codes + at, counts);
        }
#endif
        for (const std::size_t end = std::min(bases.size(), at + kBlock); at < end; ++at) {
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
