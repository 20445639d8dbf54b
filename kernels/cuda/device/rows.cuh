// Rows of activations as kernels see them: where they lie, vectors of 16 bytes, sums over a warp.
#pragma once

#include "kernels/cuda/device/math.cuh"
#include "kernels/tensor/view.hpp"

#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace mambase::cuda {

constexpr int kWarp = 32;

/// Rows [lane][position] of a view [B,T,…] whose last dimension is adjacent; strides in elements.
template <class T>
struct LaneRows {
    T* data = nullptr;
    std::int64_t lane_stride = 0;
    std::int64_t row_stride = 0;

    __host__ __device__ __forceinline__ explicit operator bool() const { return data != nullptr; }
    __device__ __forceinline__ T* row(std::int64_t lane, std::int64_t t) const {
        return data + lane * lane_stride + t * row_stride;
    }
};

/// An absent view gives absent rows.
template <class T, bool IsConst>
LaneRows<T> lane_rows(const BasicTensorView<IsConst>& view) {
    return {static_cast<T*>(view.data()), view.stride(0), view.stride(1)};
}

/// Whether every row can be read `elements` at a time (16 bytes at most in one access). The answer
/// depends on strides and on where the first row lies, not on the number of rows.
inline bool takes_vectors(const ConstTensorView& view, std::int64_t elements) {
    if (!view) {
        return true;
    }
    const int last = view.shape().rank() - 1;
    const std::int64_t bytes = elements * size_of(view.dtype());
    bool fits = view.extent(last) % elements == 0 &&
                reinterpret_cast<std::uintptr_t>(view.data()) % (bytes < 16 ? bytes : 16) == 0;
    for (int dim = 0; dim < last; ++dim) {
        fits = fits && (view.extent(dim) <= 1 || view.stride(dim) % elements == 0);
    }
    return fits;
}

/// Calls use(T{}) with the element type of activations.
template <class Use>
void with_activation_type(DType dtype, const Use& use) {
    if (dtype == DType::bf16) {
        use(__nv_bfloat16{});
    } else {
        use(float{});
    }
}

inline unsigned grid_size(std::int64_t blocks) {
    MAMBASE_ASSERT(blocks > 0 && blocks <= 0x7FFFFFFF);
    return static_cast<unsigned>(blocks);
}

template <>
struct Pack<float, 4> {
    using Raw = float4;
    static __device__ __forceinline__ void unpack(Raw raw, float (&out)[4]) {
        out[0] = raw.x;
        out[1] = raw.y;
        out[2] = raw.z;
        out[3] = raw.w;
    }
    static __device__ __forceinline__ Raw pack(const float (&in)[4]) {
        return make_float4(in[0], in[1], in[2], in[3]);
    }
};
template <>
struct Pack<__nv_bfloat16, 4> {
    using Raw = uint2;
    static __device__ __forceinline__ void unpack(Raw raw, float (&out)[4]) {
        out[0] = __uint_as_float(raw.x << 16);
        out[1] = __uint_as_float(raw.x & 0xffff0000U);
        out[2] = __uint_as_float(raw.y << 16);
        out[3] = __uint_as_float(raw.y & 0xffff0000U);
    }
    static __device__ __forceinline__ Raw pack(const float (&in)[4]) {
        using Half = Pack<__nv_bfloat16, 2>;
        return make_uint2(Half::pack({in[0], in[1]}), Half::pack({in[2], in[3]}));
    }
};
template <>
struct Pack<__nv_bfloat16, 8> {
    using Raw = uint4;
    static __device__ __forceinline__ void unpack(Raw raw, float (&out)[8]) {
        const unsigned words[4] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            out[2 * i] = __uint_as_float(words[i] << 16);
            out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000U);
        }
    }
    static __device__ __forceinline__ Raw pack(const float (&in)[8]) {
        using Half = Pack<__nv_bfloat16, 2>;
        return make_uint4(Half::pack({in[0], in[1]}), Half::pack({in[2], in[3]}),
                          Half::pack({in[4], in[5]}), Half::pack({in[6], in[7]}));
    }
};

template <class T, int N>
using Raw = typename Pack<std::remove_const_t<T>, N>::Raw;

/// N neighbouring elements that nothing writes while the kernel runs; aligned to their size.
template <int N, class T>
__device__ __forceinline__ Raw<T, N> load_raw(const T* from) {
    return __ldg(reinterpret_cast<const Raw<T, N>*>(from));
}
template <int N, class T>
__device__ __forceinline__ void load(const T* from, float (&to)[N]) {
    Pack<T, N>::unpack(load_raw<N>(from), to);
}
/// The same for memory that this kernel also writes.
template <int N, class T>
__device__ __forceinline__ void load_own(const T* from, float (&to)[N]) {
    Pack<T, N>::unpack(*reinterpret_cast<const Raw<T, N>*>(from), to);
}
/// To global memory, in one access: the compiler splits a plain assignment of four words.
template <int N, class T>
__device__ __forceinline__ void store(T* to, const float (&from)[N]) {
    __stwb(reinterpret_cast<Raw<T, N>*>(to), Pack<T, N>::pack(from));
}

template <class T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
    return value;
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
    return __float2bfloat16_rn(value);
}

/// The sum over a warp, in every thread of it: always the same tree.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xffffffffU, value, distance);
    }
    return value;
}

/// The sum over a block of Threads threads, in thread 0: always the same order.
template <int Threads>
__device__ __forceinline__ double block_sum(double value) {
    __shared__ double warps[Threads / kWarp];
    value = warp_sum(value);
    if (threadIdx.x % kWarp == 0) {
        warps[threadIdx.x / kWarp] = value;
    }
    __syncthreads();
    double sum = 0.0;
    if (threadIdx.x == 0) {
        for (int i = 0; i < Threads / kWarp; ++i) {
            sum += warps[i];
        }
    }
    return sum;
}

/// Positions of a lane that count, whatever `valid` holds.
__device__ __forceinline__ std::int64_t valid_length(const std::int64_t* valid,
                                                     std::int64_t lane,
                                                     std::int64_t length) {
    return valid == nullptr ? length : max(std::int64_t{0}, min(valid[lane], length));
}

}  // namespace mambase::cuda
