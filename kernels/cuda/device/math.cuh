// Scalar functions of the sequence kernels. Nothing here is fast-math by flag: each approximate
// instruction stands at its line with what it costs.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>

namespace mambase::cuda {

constexpr float kLog2e = 1.4426950408889634F;

/// 2^x, ex2.approx.ftz: relative error below 2^-22 over the whole range; exactly 1 at 0, 0 below
/// -126.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/// 1/x, rcp.approx.ftz: relative error below 1 ulp (2^-23).
__device__ __forceinline__ float reciprocal_approx(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/// log(1 + e) for 0 <= e <= 1 as e·P(e), P of degree 8 by the smallest largest relative error:
/// 3e-8, with rounding below 2e-7, for small e too (log2 of 1+e would lose them: delta = 1e-3 means
/// e = 1e-3). No division: one special function less than an atanh series.
__device__ __forceinline__ float log1p_unit(float e) {
    float p = fmaf(e, 0.0052326899F, -0.029505219F);
    p = fmaf(p, e, 0.078225918F);
    p = fmaf(p, e, -0.13663243F);
    p = fmaf(p, e, 0.19106005F);
    p = fmaf(p, e, -0.24842982F);
    p = fmaf(p, e, 0.33319098F);
    p = fmaf(p, e, -0.49999493F);
    p = fmaf(p, e, 0.99999994F);
    return p * e;
}

/// softplus(r) = max(r, 0) + log(1 + exp(−|r|)); above 20 the second term is below f32 resolution.
__device__ __forceinline__ float softplus(float r) {
    return fmaxf(r, 0.0F) + log1p_unit(exp2_approx(-fabsf(r) * kLog2e));
}

__device__ __forceinline__ float sigmoid(float x) {
    return reciprocal_approx(1.0F + exp2_approx(-x * kLog2e));
}

// One or two neighbouring channels as they lie in memory, and as floats.
template <class T, int Channels>
struct Pack;
template <>
struct Pack<float, 1> {
    using Raw = float;
    static __device__ __forceinline__ void unpack(Raw raw, float (&out)[1]) { out[0] = raw; }
    static __device__ __forceinline__ Raw pack(const float (&in)[1]) { return in[0]; }
};
template <>
struct Pack<float, 2> {
    using Raw = float2;
    static __device__ __forceinline__ void unpack(Raw raw, float (&out)[2]) {
        out[0] = raw.x;
        out[1] = raw.y;
    }
    static __device__ __forceinline__ Raw pack(const float (&in)[2]) {
        return make_float2(in[0], in[1]);
    }
};
template <>
struct Pack<__nv_bfloat16, 1> {
    using Raw = unsigned short;
    static __device__ __forceinline__ void unpack(Raw raw, float (&out)[1]) {
        out[0] = __uint_as_float(static_cast<unsigned>(raw) << 16);
    }
    static __device__ __forceinline__ Raw pack(const float (&in)[1]) {
        return __bfloat16_as_ushort(__float2bfloat16_rn(in[0]));
    }
};
template <>
struct Pack<__nv_bfloat16, 2> {
    using Raw = unsigned;
    static __device__ __forceinline__ void unpack(Raw raw, float (&out)[2]) {
        out[0] = __uint_as_float(raw << 16);
        out[1] = __uint_as_float(raw & 0xffff0000U);
    }
    static __device__ __forceinline__ Raw pack(const float (&in)[2]) {
        const __nv_bfloat162 both = __floats2bfloat162_rn(in[0], in[1]);
        return *reinterpret_cast<const unsigned*>(&both);
    }
};

__device__ __forceinline__ float to_float(float x) {
    return x;
}
__device__ __forceinline__ float to_float(__nv_bfloat16 x) {
    return __bfloat162float(x);
}

}  // namespace mambase::cuda
