// exp, softplus and the logistic function on a Vec, for arguments over the whole range.
//
// 2^f, e^f and log1p(e) are polynomials of least relative error (Remez; its size is named at each),
// exact at 0. tests/parity/vec_math_parity.cpp measures the functions against double precision.
#pragma once

#include "kernels/cpu/simd/vec.hpp"

namespace mambase::cpu {
namespace {

// Adding it rounds to the nearest integer, which then stands in the low bits.
constexpr float kRoundingShift = 12582912.0F;  // 1.5 · 2^23

/// p·2^k, k being the integer in the low bits of `shifted`; p in [0.7, 1.42], −127 <= k <= 127. At
/// k = −127 the result has an exponent of 0 and counts as zero.
[[gnu::always_inline]] inline Vec scale_by_power(Vec p, Vec shifted) {
    return from_bits(bits(p) + (bits(shifted) << 23));
}

/// 2^u for u in [−127, 0]; relative error 1.9e-7. The polynomial is fitted to both 2^f (1.3e-7) and
/// 1 − 2^f (4.5e-7, for small f 2.8e-7): a decay's error is multiplied by the length of its memory,
/// 1/(1 − a).
[[gnu::always_inline]] inline Vec exp2_in_range(Vec u) {
    const Vec shifted = u + broadcast(kRoundingShift);
    const Vec f = u - (shifted - broadcast(kRoundingShift));
    Vec p = broadcast(1.32657711053e-3F);  // 2^f on [−1/2, 1/2]
    p = fma(p, f, broadcast(9.66762307914e-3F));
    p = fma(p, f, broadcast(5.5506883901e-2F));
    p = fma(p, f, broadcast(2.40223225925e-1F));
    p = fma(p, f, broadcast(6.93147056571e-1F));
    p = fma(p, f, broadcast(1.0F));
    return scale_by_power(p, shifted);
}

/// 2^u for u <= 0, 0 below −126. NaN stays NaN.
[[gnu::always_inline]] inline Vec exp2_nonpositive(Vec u) {
    return exp2_in_range(max(broadcast(-127.0F), u));
}

/// e^x for x in [−88, 88]; relative error 1.2e-7.
[[gnu::always_inline]] inline Vec exp_in_range(Vec x) {
    const Vec shifted = fma(x, broadcast(1.44269504F), broadcast(kRoundingShift));
    const Vec k = shifted - broadcast(kRoundingShift);
    // ln 2 in two parts, the first with 15 bits, so that k times it is exact without fma too.
    Vec f = fma(k, broadcast(-0.693145751953125F), x);
    f = fma(k, broadcast(-1.42860682030941723e-6F), f);
    Vec p = broadcast(1.38145984608e-3F);  // e^f on [−ln2/2, ln2/2], 3.1e-9
    p = fma(p, f, broadcast(8.36871688121e-3F));
    p = fma(p, f, broadcast(4.16683880494e-2F));
    p = fma(p, f, broadcast(1.66665206317e-1F));
    p = fma(p, f, broadcast(4.99999934478e-1F));
    p = fma(p, f, broadcast(1.0F));
    p = fma(p, f, broadcast(1.0F));
    return scale_by_power(p, shifted);
}

/// e^x, 0 below −87.4; above 88 it stays at e^88. NaN stays NaN.
[[gnu::always_inline]] inline Vec exp(Vec x) {
    return exp_in_range(min(broadcast(88.0F), max(broadcast(-88.0F), x)));
}

/// exp(−|x|): the argument that softplus and logistic share; it never overflows.
[[gnu::always_inline]] inline Vec exp_of_minus_magnitude(Vec x) {
    return exp_in_range(max(broadcast(-88.0F), from_bits(bits(x) | INT32_MIN)));
}

/// log(1 + e^x) of x and e = exp(−|x|), as max(x, 0) + log1p(e); relative error 2e-7. Above 20 it
/// is x itself to the last bit.
[[gnu::always_inline]] inline Vec softplus(Vec x, Vec e) {
    Vec p = broadcast(-3.25637847951e-3F);  // log1p(e)/e on [0, 1], 9.4e-9
    p = fma(p, e, broadcast(2.00345166106e-2F));
    p = fma(p, e, broadcast(-5.75786435281e-2F));
    p = fma(p, e, broadcast(1.06988228199e-1F));
    p = fma(p, e, broadcast(-1.53843851882e-1F));
    p = fma(p, e, broadcast(1.97126676022e-1F));
    p = fma(p, e, broadcast(-2.49635297753e-1F));
    p = fma(p, e, broadcast(3.33311536702e-1F));
    p = fma(p, e, broadcast(-4.99999605332e-1F));
    p = fma(p, e, broadcast(1.0F));
    return fma(p, e, max(zero(), x));
}

/// 1/(1 + e^−x) of x and e = exp(−|x|); relative error 2.5e-7.
[[gnu::always_inline]] inline Vec logistic(Vec x, Vec e) {
    return select(x < zero(), e, broadcast(1.0F)) / (broadcast(1.0F) + e);
}

[[gnu::always_inline]] inline Vec logistic(Vec x) {
    return logistic(x, exp_of_minus_magnitude(x));
}

}  // namespace
}  // namespace mambase::cpu
