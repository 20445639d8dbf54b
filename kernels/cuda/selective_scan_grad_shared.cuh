// Selective scan, backward: the shared memory of its main kernel, and the words that go there and
// back. (What is done with it: selective_scan_backward.cuh.)
#pragma once

#include "kernels/cuda/device/mma.cuh"
#include "kernels/cuda/selective_scan_grad.cuh"

namespace mambase::cuda {

/// Channels g and g + 8 of a warp's sixteen lie side by side, as a fragment's rows: one float4 a
/// thread. Nine places for eight, so that the warps' parts of a row start in other banks.
constexpr int kPairStride = kBackWarps * 9;
/// Pairs of channels as the tensor core takes them; padded likewise.
constexpr int kColumnStride = kBackChannels / 2 + 8;

template <class T>
struct BackShared {
    static constexpr bool kSplit = sizeof(T) == 4;
    static constexpr int kOctet = static_cast<int>(sizeof(T)) / 2;  // 16-byte words of 8 channels
    // f32 takes as much as two buffers of bf16, and a block of sm_86 has 99 KB.
    static constexpr int kBuffers = kSplit ? 1 : 2;
    uint4 raw[kBuffers][4][kBackStage][8]
             [kOctet];  // x, dt_raw, z, dy; later z, dy: what dz is made with
    uint4 raw_bc[kBuffers][2 * kBackStage * 2 * kOctet];
    float4 kept[kBuffers][kBackStage / kKept][2 * kBackThreads];  // [channel][quad of states]
    float4 in[kBackStage][kPairStride];   // (delta, delta·x) of g, of g + 8
    float4 out[kBackStage][kPairStride];  // (dy, delta) of g, of g + 8; dy of the ungated output
    float b[kBackStage][kBackStates];
    float c[kBackStage][kBackStates];
    unsigned column_dx[kSplit ? 3 : 1][kBackStage][kColumnStride];  // delta·x in parts of bf16
    unsigned column_dy[kSplit ? 3 : 1][kBackStage][kColumnStride];
    float4 sum[3][kBackStage / 2][kPairStride];  // C·h, B·g, A·g·a·h (times log2 e): two positions
                                                 // of g, of g + 8
    float2 bc[kBackWarps][2][kBackStage][8];  // db, dc: rows g and g + 8 of the transpose
    std::uintptr_t place[8][kBackThreads];    // of each thread's words in memory
    std::uint64_t arrived[kBuffers];          // bulk copies of kept states
    uint4 one[32];                            // see transpose()
    float4 parameter[4][kBackThreads];  // each thread's sums of dd, ddt_bias of its eight channels
    float4 bias[2][8];                  // [half of an octet][octet]
    float4 skip[2][8];
};

template <class T>
__device__ __forceinline__ void unpack8(const uint4* from, float (&to)[8]) {
    if constexpr (sizeof(T) == 2) {
        const uint4 v = *from;
        const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            to[2 * k] = __uint_as_float(words[k] << 16);
            to[2 * k + 1] = __uint_as_float(words[k] & 0xffff0000U);
        }
    } else {
#pragma unroll
        for (int k = 0; k < 2; ++k) {
            const float4 v = reinterpret_cast<const float4*>(from)[k];
            to[4 * k] = v.x;
            to[4 * k + 1] = v.y;
            to[4 * k + 2] = v.z;
            to[4 * k + 3] = v.w;
        }
    }
}

/// One instruction; an assignment of a uint4 may become four.
__device__ __forceinline__ void store_16(void* to, unsigned x, unsigned y, unsigned z, unsigned w) {
    asm volatile("st.global.v4.b32 [%0], {%1,%2,%3,%4};" ::"l"(to), "r"(x), "r"(y), "r"(z), "r"(w)
                 : "memory");
}
__device__ __forceinline__ void store_16(void* to, float x, float y, float z, float w) {
    store_16(to, __float_as_uint(x), __float_as_uint(y), __float_as_uint(z), __float_as_uint(w));
}

template <bool kVector, class T>
__device__ __forceinline__ void store8(const float (&from)[8], T* to, int columns) {
    if constexpr (kVector) {
        if constexpr (sizeof(T) == 2) {
            store_16(to, pack_bf16(from[0], from[1]), pack_bf16(from[2], from[3]),
                     pack_bf16(from[4], from[5]), pack_bf16(from[6], from[7]));
        } else {
            store_16(to, from[0], from[1], from[2], from[3]);
            store_16(to + 4, from[4], from[5], from[6], from[7]);
        }
    } else {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            if (k < columns) {
                to[k] = static_cast<T>(from[k]);
            }
        }
    }
}

/// Bytes of one row to shared memory: whole words by asynchronous copy, else element by element
/// with zeros behind the last.
template <bool kVector, class T, int Words>
__device__ __forceinline__ void fetch_words(uint4 (&to)[Words], const T* from, int count) {
    constexpr int kPerWord = 16 / static_cast<int>(sizeof(T));
#pragma unroll
    for (int w = 0; w < Words; ++w) {
        if constexpr (kVector) {
            copy_async_16(&to[w], from + w * kPerWord);
        } else {
            alignas(16) T values[kPerWord];
#pragma unroll
            for (int k = 0; k < kPerWord; ++k) {
                values[k] =
                    w * kPerWord + k < count ? from[w * kPerWord + k] : static_cast<T>(0.0F);
            }
            to[w] = *reinterpret_cast<const uint4*>(values);
        }
    }
}

}  // namespace mambase::cuda
