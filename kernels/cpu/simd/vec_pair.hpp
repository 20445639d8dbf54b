// VecPair: vectors that go side by side through the same operations.
//
// VecPair<Vec> is two vectors, VecPair<VecPair<Vec>> four. Every operation is done for each of them
// before the next operation, so that independent chains stand next to each other in the program:
// the chain of one exp is 40 cycles long, and no processor looks far enough ahead to overlap chains
// that stand one after another. Kernels are templates over V, a Vec or a VecPair.
#pragma once

#include "kernels/cpu/simd/vec.hpp"

namespace mambase::cpu {
namespace {

template <class V>
struct VecPair {
    static constexpr int kWidth = 2 * V::kWidth;
    using Half = V;
    V lo, hi;
};

template <class M>
struct MaskPair {
    M lo, hi;
};

template <class V>
[[gnu::always_inline]] inline V load_as(const float* from) {
    if constexpr (V::kWidth == Vec::kWidth) {
        return load(from);
    } else {
        using Half = typename V::Half;
        return {load_as<Half>(from), load_as<Half>(from + Half::kWidth)};
    }
}

template <class V>
[[gnu::always_inline]] inline void store(float* to, VecPair<V> a) {
    store(to, a.lo);
    store(to + V::kWidth, a.hi);
}

template <class V>
[[gnu::always_inline]] inline V broadcast_as(float value) {
    if constexpr (V::kWidth == Vec::kWidth) {
        return broadcast(value);
    } else {
        using Half = typename V::Half;
        return {broadcast_as<Half>(value), broadcast_as<Half>(value)};
    }
}

template <class V>
[[gnu::always_inline]] inline VecPair<V> operator+(VecPair<V> a, VecPair<V> b) {
    return {a.lo + b.lo, a.hi + b.hi};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> operator-(VecPair<V> a, VecPair<V> b) {
    return {a.lo - b.lo, a.hi - b.hi};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> operator*(VecPair<V> a, VecPair<V> b) {
    return {a.lo * b.lo, a.hi * b.hi};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> operator/(VecPair<V> a, VecPair<V> b) {
    return {a.lo / b.lo, a.hi / b.hi};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> fma(VecPair<V> a, VecPair<V> b, VecPair<V> c) {
    return {fma(a.lo, b.lo, c.lo), fma(a.hi, b.hi, c.hi)};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> max(VecPair<V> a, VecPair<V> b) {
    return {max(a.lo, b.lo), max(a.hi, b.hi)};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> min(VecPair<V> a, VecPair<V> b) {
    return {min(a.lo, b.lo), min(a.hi, b.hi)};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> clamp_nonpositive(VecPair<V> a, float lowest) {
    return {clamp_nonpositive(a.lo, lowest), clamp_nonpositive(a.hi, lowest)};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> minus_magnitude(VecPair<V> a) {
    return {minus_magnitude(a.lo), minus_magnitude(a.hi)};
}
template <class V>
[[gnu::always_inline]] inline VecPair<V> scale_by_power(VecPair<V> p, VecPair<V> shifted) {
    return {scale_by_power(p.lo, shifted.lo), scale_by_power(p.hi, shifted.hi)};
}

template <class V>
[[gnu::always_inline]] inline auto operator<(VecPair<V> a, VecPair<V> b) {
    return MaskPair<decltype(a.lo < b.lo)>{a.lo < b.lo, a.hi < b.hi};
}
template <class M, class V>
[[gnu::always_inline]] inline VecPair<V> select(MaskPair<M> mask, VecPair<V> a, VecPair<V> b) {
    return {select(mask.lo, a.lo, b.lo), select(mask.hi, a.hi, b.hi)};
}

/// sum + Σ a·b over the vectors, which gives a Vec again.
[[gnu::always_inline]] inline Vec add_products(Vec sum, Vec a, Vec b) {
    return fma(a, b, sum);
}
template <class V>
[[gnu::always_inline]] inline Vec add_products(Vec sum, VecPair<V> a, VecPair<V> b) {
    return add_products(add_products(sum, a.lo, b.lo), a.hi, b.hi);
}

/// Σ a·b over the vectors.
[[gnu::always_inline]] inline Vec sum_products(Vec a, Vec b) {
    return a * b;
}
template <class V>
[[gnu::always_inline]] inline Vec sum_products(VecPair<V> a, VecPair<V> b) {
    return add_products(sum_products(a.lo, b.lo), a.hi, b.hi);
}

}  // namespace
}  // namespace mambase::cpu
