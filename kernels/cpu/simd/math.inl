// exp, softplus and the logistic function, for arguments over the whole range, on a Vec or a
// VecPair.
//
// 2^f, e^f and log1p(e) are polynomials of least relative error (Remez; its size is named at each),
// exact at 0. tests/parity/vec_math_parity.cpp measures the functions against double precision.
#pragma once

#include "kernels/cpu/simd/vec.hpp"
#include "kernels/cpu/simd/vec_pair.hpp"

namespace mambase::cpu {
namespace {

/// p + c·x^0 … by Horner's rule: highest coefficient first.
template <class V>
[[gnu::always_inline]] inline V polynomial(V /*x*/, V p) {
    return p;
}
template <class V, class... Rest>
[[gnu::always_inline]] inline V polynomial(V x, V p, float next, Rest... rest) {
    return polynomial(x, fma(p, x, broadcast_as<V>(next)), rest...);
}

// Adding it rounds to the nearest integer, which then stands in the low bits.
constexpr float kRoundingShift = 12582912.0F;  // 1.5 · 2^23

/// 2^u for u <= 0, 0 below −126; relative error 1.9e-7. NaN stays NaN. The polynomial is fitted to
/// both 2^f (1.3e-7) and 1 − 2^f (4.5e-7, for small f 2.8e-7): a decay's error is multiplied by the
/// length of its memory, 1/(1 − a).
template <class V>
[[gnu::always_inline]] inline V exp2_nonpositive(V u) {
    u = clamp_nonpositive(u, -127.0F);
    const V shifted = u + broadcast_as<V>(kRoundingShift);
    const V f = u - (shifted - broadcast_as<V>(kRoundingShift));
    const V p = polynomial(f, broadcast_as<V>(1.32657711053e-3F), 9.66762307914e-3F,
                           5.5506883901e-2F, 2.40223225925e-1F, 6.93147056571e-1F, 1.0F);
    return scale_by_power(p, shifted);
}

/// e^x for x in [−88, 88]; relative error 1.2e-7.
template <class V>
[[gnu::always_inline]] inline V exp_in_range(V x) {
    const V shifted = fma(x, broadcast_as<V>(1.44269504F), broadcast_as<V>(kRoundingShift));
    const V k = shifted - broadcast_as<V>(kRoundingShift);
    // ln 2 in two parts, the first with 15 bits, so that k times it is exact without fma too.
    V f = fma(k, broadcast_as<V>(-0.693145751953125F), x);
    f = fma(k, broadcast_as<V>(-1.42860682030941723e-6F), f);
    const V p = polynomial(f, broadcast_as<V>(1.38145984608e-3F),  // 3.1e-9
                           8.36871688121e-3F, 4.16683880494e-2F, 1.66665206317e-1F,
                           4.99999934478e-1F, 1.0F, 1.0F);
    return scale_by_power(p, shifted);
}

/// e^x, 0 below −87.4; above 88 it stays at e^88. NaN stays NaN.
template <class V>
[[gnu::always_inline]] inline V exp(V x) {
    return exp_in_range(min(broadcast_as<V>(88.0F), max(broadcast_as<V>(-88.0F), x)));
}

/// exp(−|x|): the argument that softplus and logistic share; it never overflows.
template <class V>
[[gnu::always_inline]] inline V exp_of_minus_magnitude(V x) {
    return exp_in_range(max(broadcast_as<V>(-88.0F), minus_magnitude(x)));
}

/// log(1 + e^x) of x and e = exp(−|x|), as max(x, 0) + log1p(e); relative error 2e-7. Above 20 it
/// is x itself to the last bit.
template <class V>
[[gnu::always_inline]] inline V softplus(V x, V e) {
    const V p = polynomial(e, broadcast_as<V>(-3.25637847951e-3F),  // log1p(e)/e, 9.4e-9
                           2.00345166106e-2F, -5.75786435281e-2F, 1.06988228199e-1F,
                           -1.53843851882e-1F, 1.97126676022e-1F, -2.49635297753e-1F,
                           3.33311536702e-1F, -4.99999605332e-1F, 1.0F);
    return fma(p, e, max(broadcast_as<V>(0.0F), x));
}

/// 1/(1 + e^−x) of x and e = exp(−|x|); relative error 2.5e-7.
template <class V>
[[gnu::always_inline]] inline V logistic(V x, V e) {
    const V one = broadcast_as<V>(1.0F);
    return select(x < broadcast_as<V>(0.0F), e, one) / (one + e);
}

template <class V>
[[gnu::always_inline]] inline V logistic(V x) {
    return logistic(x, exp_of_minus_magnitude(x));
}

}  // namespace
}  // namespace mambase::cpu
