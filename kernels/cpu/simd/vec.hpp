// Vec: as many floats as one register holds, for the kernel texts of cpu/simd/ and for nothing
// else.
//
// The width follows the flags that the including file is compiled with: 16 with AVX-512, 8 with
// AVX2 and FMA, else 4 (the baseline of x86-64 and AArch64). The same text therefore gives other
// bits at each level, and always the same bits at one. Everything is in an anonymous namespace and
// inlined, so that no symbol of one level can stand in for another's at link time.
//
// Arithmetic is IEEE single precision, one rounding an operation; fma() rounds once where the level
// has the instruction and twice at the baseline.
#pragma once

#include <cstdint>
#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif

namespace mambase::cpu {
namespace {

#if defined(__AVX512F__)
inline constexpr int kVecWidth = 16;
#elif defined(__AVX2__) && defined(__FMA__)
inline constexpr int kVecWidth = 8;
#else
inline constexpr int kVecWidth = 4;
#endif

using VecFloats [[gnu::vector_size(kVecWidth * 4)]] = float;
using VecInts [[gnu::vector_size(kVecWidth * 4)]] = std::int32_t;

struct Vec {
    static constexpr int kWidth = kVecWidth;
    VecFloats v;
};

/// All bits set in an element where a comparison holds, none elsewhere.
struct VecMask {
    VecInts v;
};

[[gnu::always_inline]] inline Vec load(const float* from) {
    Vec out{};
    __builtin_memcpy(&out.v, from, sizeof(out.v));
    return out;
}

[[gnu::always_inline]] inline void store(float* to, Vec a) {
    __builtin_memcpy(to, &a.v, sizeof(a.v));
}

[[gnu::always_inline]] inline Vec broadcast(float value) {
    return {value - VecFloats{}};
}

[[gnu::always_inline]] inline Vec zero() {
    return {VecFloats{}};
}

/// The first `count` floats, zeros after them; none for count <= 0. Reads nothing past them.
[[gnu::always_inline]] inline Vec load_partial(const float* from, int count) {
    float whole[kVecWidth] = {};
    for (int i = 0; i < count; ++i) {
        whole[i] = from[i];
    }
    return load(whole);
}

/// The first `count` elements; none for count <= 0. Writes nothing past them.
[[gnu::always_inline]] inline void store_partial(float* to, Vec a, int count) {
    float whole[kVecWidth];
    store(whole, a);
    for (int i = 0; i < count; ++i) {
        to[i] = whole[i];
    }
}

[[gnu::always_inline]] inline Vec operator+(Vec a, Vec b) {
    return {a.v + b.v};
}
[[gnu::always_inline]] inline Vec operator-(Vec a, Vec b) {
    return {a.v - b.v};
}
[[gnu::always_inline]] inline Vec operator-(Vec a) {
    return {-a.v};
}
[[gnu::always_inline]] inline Vec operator*(Vec a, Vec b) {
    return {a.v * b.v};
}
[[gnu::always_inline]] inline Vec operator/(Vec a, Vec b) {
    return {a.v / b.v};
}

/// a·b + c
[[gnu::always_inline]] inline Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__)
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
#elif defined(__AVX2__) && defined(__FMA__)
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
#else
    return {a.v * b.v + c.v};
#endif
}

/// Of the operands that are not ordered (a NaN among them), b.
[[gnu::always_inline]] inline Vec max(Vec a, Vec b) {
#if defined(__AVX512F__)
    return {_mm512_maskz_max_ps(0xFFFF, a.v, b.v)};
#elif defined(__AVX2__) && defined(__FMA__)
    return {_mm256_max_ps(a.v, b.v)};
#elif defined(__SSE2__)
    return {_mm_max_ps(a.v, b.v)};
#else
    return {a.v > b.v ? a.v : b.v};
#endif
}

/// Of the operands that are not ordered (a NaN among them), b.
[[gnu::always_inline]] inline Vec min(Vec a, Vec b) {
#if defined(__AVX512F__)
    return {_mm512_maskz_min_ps(0xFFFF, a.v, b.v)};
#elif defined(__AVX2__) && defined(__FMA__)
    return {_mm256_min_ps(a.v, b.v)};
#elif defined(__SSE2__)
    return {_mm_min_ps(a.v, b.v)};
#else
    return {a.v < b.v ? a.v : b.v};
#endif
}

[[gnu::always_inline]] inline VecMask operator>(Vec a, Vec b) {
    return {a.v > b.v};
}
[[gnu::always_inline]] inline VecMask operator<(Vec a, Vec b) {
    return {a.v < b.v};
}

/// a where the mask is set, else b.
[[gnu::always_inline]] inline Vec select(VecMask mask, Vec a, Vec b) {
    return {mask.v ? a.v : b.v};
}

/// max(lowest, a) for a and lowest below zero, −0 included; a NaN stays NaN or becomes `lowest`.
/// The bits of negative floats grow with their magnitude, and integers leave the ports of fma
/// alone.
[[gnu::always_inline]] inline Vec clamp_nonpositive(Vec a, float lowest) {
#if defined(__AVX512F__)
    return {_mm512_castsi512_ps(_mm512_maskz_min_epu32(0xFFFF, _mm512_castps_si512(a.v),
                                                       _mm512_castps_si512(broadcast(lowest).v)))};
#elif defined(__AVX2__) && defined(__FMA__)
    return {_mm256_castsi256_ps(
        _mm256_min_epu32(_mm256_castps_si256(a.v), _mm256_castps_si256(broadcast(lowest).v)))};
#else
    return max(broadcast(lowest), a);
#endif
}

/// The bits of a float as an integer, and back.
[[gnu::always_inline]] inline VecInts bits(Vec a) {
    return reinterpret_cast<VecInts>(a.v);
}
[[gnu::always_inline]] inline Vec from_bits(VecInts a) {
    return {reinterpret_cast<VecFloats>(a)};
}

/// −|a|
[[gnu::always_inline]] inline Vec minus_magnitude(Vec a) {
    return from_bits(bits(a) | INT32_MIN);
}

/// p·2^k for the integer k in the low bits of `shifted`, −127 <= k <= 127, and p in [0.7, 1.42]. At
/// k = −127 the result has an exponent of 0 and counts as zero.
[[gnu::always_inline]] inline Vec scale_by_power(Vec p, Vec shifted) {
    return from_bits(bits(p) + (bits(shifted) << 23));
}

/// The elements of `from`, as floats.
[[gnu::always_inline]] inline Vec to_float(VecInts from) {
    return {__builtin_convertvector(from, VecFloats)};
}

/// Element i of the result is element i XOR `Distance` of a.
template <int Distance>
[[gnu::always_inline]] inline Vec exchange(Vec a) {
    constexpr int d = Distance;
    static_assert(d < kVecWidth);
#if defined(__AVX512F__)
    return {__builtin_shufflevector(a.v, a.v, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d, 4 ^ d, 5 ^ d, 6 ^ d,
                                    7 ^ d, 8 ^ d, 9 ^ d, 10 ^ d, 11 ^ d, 12 ^ d, 13 ^ d, 14 ^ d,
                                    15 ^ d)};
#elif defined(__AVX2__) && defined(__FMA__)
    return {
        __builtin_shufflevector(a.v, a.v, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d, 4 ^ d, 5 ^ d, 6 ^ d, 7 ^ d)};
#else
    return {__builtin_shufflevector(a.v, a.v, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d)};
#endif
}

/// Element i of b where i has the bit `Distance`, of a elsewhere.
template <int Distance>
[[gnu::always_inline]] inline Vec blend(Vec a, Vec b) {
    constexpr int d = Distance;
    constexpr int w = kVecWidth;
    static_assert(d < w);
    // i plus w where i has the bit.
#if defined(__AVX512F__)
    return {__builtin_shufflevector(
        a.v, b.v, 0, 1 + (1 & d) / d * w, 2 + (2 & d) / d * w, 3 + (3 & d) / d * w,
        4 + (4 & d) / d * w, 5 + (5 & d) / d * w, 6 + (6 & d) / d * w, 7 + (7 & d) / d * w,
        8 + (8 & d) / d * w, 9 + (9 & d) / d * w, 10 + (10 & d) / d * w, 11 + (11 & d) / d * w,
        12 + (12 & d) / d * w, 13 + (13 & d) / d * w, 14 + (14 & d) / d * w,
        15 + (15 & d) / d * w)};
#elif defined(__AVX2__) && defined(__FMA__)
    return {__builtin_shufflevector(a.v, b.v, 0, 1 + (1 & d) / d * w, 2 + (2 & d) / d * w,
                                    3 + (3 & d) / d * w, 4 + (4 & d) / d * w, 5 + (5 & d) / d * w,
                                    6 + (6 & d) / d * w, 7 + (7 & d) / d * w)};
#else
    return {__builtin_shufflevector(a.v, b.v, 0, 1 + (1 & d) / d * w, 2 + (2 & d) / d * w,
                                    3 + (3 & d) / d * w)};
#endif
}

/// Sum of the elements, as a tree: first those furthest apart.
[[gnu::always_inline]] inline float reduce_add(Vec a) {
#if defined(__AVX512F__)
    a = a + exchange<8>(a);
#endif
#if defined(__AVX2__) && defined(__FMA__)
    a = a + exchange<4>(a);
#endif
    a = a + exchange<2>(a);
    a = a + exchange<1>(a);
    return a.v[0];
}

/// The largest element.
[[gnu::always_inline]] inline float reduce_max(Vec a) {
#if defined(__AVX512F__)
    a = max(a, exchange<8>(a));
#endif
#if defined(__AVX2__) && defined(__FMA__)
    a = max(a, exchange<4>(a));
#endif
    a = max(a, exchange<2>(a));
    a = max(a, exchange<1>(a));
    return a.v[0];
}

}  // namespace
}  // namespace mambase::cpu
