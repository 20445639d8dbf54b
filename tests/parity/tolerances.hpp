// How far a backend may be from the float64 reference, and why.
#pragma once

#include "tests/support/backends.hpp"

namespace mambase::test {

/// f32 values, max|a − b| / max|b|: a sum of a few hundred products in f32 carries some 1e-6 of
/// the largest, ten times less than this; a wrong term shows as 1e-3 and more.
inline constexpr double kForward = 1e-5;

/// f32 gradients of activations, by the same measure and for the same reason.
inline constexpr double kActivationGradient = 1e-5;

/// Gradients of parameters, ‖a − b‖ / ‖b‖: f32 within tiles (OpTable::gradient_tile), f64 beyond.
inline constexpr double kParameterGradient = 1e-5;

/// A result that a bf16 backend rounds: the nearest value of 8 bits is off by up to 2^-8 of it.
/// Nothing else is lost: the reference is given what the op is given, rounded before, arithmetic is
/// in f32 as above, and states and gradients of parameters are held to the bounds of f32.
inline double rounding(const Backend& backend) {
    return backend.activations == DType::bf16 ? 0x1p-8 : 0.0;
}
inline double forward_bound(const Backend& backend) {
    return kForward + rounding(backend);
}
inline double activation_gradient_bound(const Backend& backend) {
    return kActivationGradient + rounding(backend);
}

/// Gradients of weights of products in bf16: tensor cores cut off what f32 would round, so that a
/// sum over a tile drifts by up to 2^-24 with every addition of 16 rows, 3e-5 of it over 8,192.
inline double weight_gradient_bound(const Backend& backend) {
    return backend.activations == DType::bf16 ? 3e-5 : kParameterGradient;
}

/// Gradients of the selective scan in bf16. Its sums over states and channels are products whose
/// operands, states and their gradients, are rounded to bf16 like those of every product: 2^-9 of
/// each of two factors, and 2^-8 of what is written; the largest seen is 8.6e-3.
inline double scan_gradient_bound(const Backend& backend) {
    return backend.activations == DType::bf16 ? 0x1p-6 : kActivationGradient;
}

/// Of a_log and state_in, which are added up in f32 behind one such sum: the largest seen
/// is 5.7e-5.
inline double scan_state_gradient_bound(const Backend& backend) {
    return backend.activations == DType::bf16 ? 2e-4 : kParameterGradient;
}

/// Of dt_bias: in sums of random signs over all positions nearly everything cancels, but not the
/// 2^-11 that tensor cores cut from each addend, always towards zero; the largest seen is 3.9e-2.
inline double scan_dt_bias_gradient_bound(const Backend& backend) {
    return backend.activations == DType::bf16 ? 0x1p-4 : kParameterGradient;
}

/// Values computed in double precision from f32 inputs and stored as f64: what is left is the
/// difference between two orders of adding and two implementations of exp.
inline constexpr double kDouble = 1e-13;

/// Central differences of a float64 reference against its own backward: the step of 1e-5 leaves
/// h² of the third derivative (1e-10) and rounding over h (1e-11), relative to values of order 1.
inline constexpr double kFiniteDifference = 1e-7;

}  // namespace mambase::test
