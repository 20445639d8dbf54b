// Letters to token ids, one byte a base.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mambase::io {

/// A *code* is one byte a base: the token id in the low seven bits, bit 7 set for a soft-masked
/// (lower-case) base. Case is never shown to the model; it is only a weight in the loss.
inline constexpr std::uint8_t kSoftMask = 0x80;

/// A row of the table of tokenizers (tokenizer.cpp):
///   "dna"    A 7, C 8, G 9, T 10, N 11 (the ids of HyenaDNA and Caduceus); vocabulary 12, padded
///            to 16
///   "bytes"  the ids are upper-case ASCII; vocabulary 256
/// A C G T are read case-blind and U as T; every other IUPAC code reads as N; all else is illegal.
class Tokenizer {
  public:
    /// Error{not_found} lists the names there are.
    static const Tokenizer& named(std::string_view name);

    std::string_view name() const { return name_; }
    /// 16 hexadecimal digits of the 256-entry table (FNV-1a); the same on every machine.
    std::string hash() const;
    /// Rows of the embedding, padding included.
    int vocab_size() const { return vocab_size_; }
    /// Ids of A, C, G, T in this order.
    std::array<std::uint8_t, 4> acgt() const { return acgt_; }
    std::uint8_t n() const { return n_; }

    // Of a code; the soft-mask bit may be set.
    bool is_acgt(std::uint8_t code) const { return complements_[code & 0x7F] != n_; }
    /// The code of the complementary base, soft-mask bit kept; N stays N.
    std::uint8_t complement(std::uint8_t code) const {
        return static_cast<std::uint8_t>(complements_[code & 0x7F] | (code & kSoftMask));
    }
    /// A C G T N, in lower case where soft-masked; '?' for what is no code.
    char letter(std::uint8_t code) const;

    struct Counts {
        std::int64_t acgt = 0;
        std::int64_t ambiguous = 0;  // IUPAC codes other than N
        std::int64_t soft_masked = 0;
        std::int64_t bad = -1;  // offset of the first illegal byte, or -1
    };
    /// Writes bases.size() codes (codes and counts past an illegal byte are not defined). Pure;
    /// allocates nothing.
    Counts encode(std::span<const char> bases, std::uint8_t* codes) const;

  private:
    struct Spec;
    explicit Tokenizer(const Spec& spec);

    std::string_view name_;
    int vocab_size_;
    std::array<std::uint8_t, 4> acgt_;
    std::uint8_t n_;
    std::array<std::uint8_t, 256> codes_{};        // by byte; 0 is illegal
    std::array<std::uint8_t, 128> complements_{};  // by id; n_ for N and for what is no id
};

}  // namespace mambase::io
