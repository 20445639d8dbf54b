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

/// log(1 + e) for 0 <= e <= 1 by 2·atanh(e/(2+e)); the series to s^13 leaves 2e-8, so small e keeps
/// its relative accuracy (log2 of 1+e would not: delta = 1e-3 means e = 1e-3).
__device__ __forceinline__ float log1p_unit(float e) {
    const float s = e * reciprocal_approx(2.0F + e);
    const float q = s * s;
    float p = fmaf(q, 1.0F / 13.0F, 1.0F / 11.0F);
    p = fmaf(p, q, 1.0F / 9.0F);
    p = fmaf(p, q, 1.0F / 7.0F);
    p = fmaf(p, q, 1.0F / 5.0F);
    p = fmaf(p, q, 1.0F / 3.0F);
    const float twice = s + s;
    return fmaf(p * q, twice, twice);
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
