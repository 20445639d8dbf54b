// Tensor cores as adders: products of small matrices whose fragments lie where the threads of a
// recurrence have their values anyway.
//
// In what follows lane = 4·g + q, g = 0..7, q = 0..3.
//   A (16 x 16, bf16 pairs): r0 = (g; 2q,2q+1)  r1 = (g+8; 2q,2q+1)  r2 = (g; 2q+8,+9)
//                            r3 = (g+8; 2q+8,+9)
//   B (16 x 8):              r0 = (2q,2q+1; g)  r1 = (2q+8,+9; g)
//   D (16 x 8, f32):         r0,r1 = (g; 2q,2q+1)  r2,r3 = (g+8; 2q,2q+1)
#pragma once

#include <cstdint>

#include <cuda_bf16.h>

namespace mambase::cuda {

/// Two floats rounded to a pair of bf16; `low` is the one at the lower address.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

/// An operand of Count registers. kSplit keeps what the rounding to bf16 left as a second operand
/// and what that left as a third: nothing of an f32 is lost, instead of 2^-9 of each value.
template <int Count, bool kSplit>
struct Operand {
    unsigned high[Count];
    unsigned low[kSplit ? Count : 1];
    unsigned rest[kSplit ? Count : 1];

    __device__ __forceinline__ void set(int i, float first, float second) {
        high[i] = pack_bf16(first, second);
        if constexpr (kSplit) {
            const float x = first - __uint_as_float(high[i] << 16);
            const float y = second - __uint_as_float(high[i] & 0xffff0000U);
            low[i] = pack_bf16(x, y);
            rest[i] = pack_bf16(x - __uint_as_float(low[i] << 16),
                                y - __uint_as_float(low[i] & 0xffff0000U));
        }
    }
    __device__ __forceinline__ void mask(unsigned bits) {
#pragma unroll
        for (int i = 0; i < Count; ++i) {
            high[i] &= bits;
            if constexpr (kSplit) {
                low[i] &= bits;
                rest[i] &= bits;
            }
        }
    }
};

/// d = a·b, or d += a·b.
template <bool kAdd>
__device__ __forceinline__ void mma_bf16(float (&d)[4],
                                         const unsigned (&a)[4],
                                         const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%10,%11,%12,%13};"
        : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(kAdd ? d[0] : 0.0F),
          "f"(kAdd ? d[1] : 0.0F), "f"(kAdd ? d[2] : 0.0F), "f"(kAdd ? d[3] : 0.0F));
}

/// Of split operands the products below 2^-24 of the whole are left out; the smallest come first.
template <bool kAdd, bool kSplit>
__device__ __forceinline__ void multiply(float (&d)[4],
                                         const Operand<4, kSplit>& a,
                                         const Operand<2, kSplit>& b) {
    if constexpr (kSplit) {
        mma_bf16<kAdd>(d, a.rest, b.high);
        mma_bf16<true>(d, a.high, b.rest);
        mma_bf16<true>(d, a.low, b.low);
        mma_bf16<true>(d, a.low, b.high);
        mma_bf16<true>(d, a.high, b.low);
    }
    mma_bf16<kAdd || kSplit>(d, a.high, b.high);
}

/// Sums over the four lanes of a group times the column's `weight`: d[0], d[1] of `first`, d[2],
/// d[3] of `second`. The tensor core cuts each addend to 11 bits (tf32); kSplit adds what was cut.
template <bool kAdd, bool kSplit>
__device__ __forceinline__ void sum_group(float (&d)[4], float first, float second, float weight) {
    const auto add = [&d, weight](float x, float y, bool more) {
        asm("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
            "{%7,%8,%9,%10};"
            : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
            : "r"(__float_as_uint(x)), "r"(__float_as_uint(y)), "r"(__float_as_uint(weight)),
              "f"(more ? d[0] : 0.0F), "f"(more ? d[1] : 0.0F), "f"(more ? d[2] : 0.0F),
              "f"(more ? d[3] : 0.0F));
    };
    if constexpr (kSplit) {
        const float x = __uint_as_float(__float_as_uint(first) & 0xffffe000U);
        const float y = __uint_as_float(__float_as_uint(second) & 0xffffe000U);
        add(first - x, second - y, kAdd);
        add(x, y, true);
    } else {
        add(first, second, kAdd);
    }
}

/// The A fragments (16 x 8: r0 = (g; 2q,2q+1), r1 = (g+8; 2q,2q+1)) of the transposes of two 8 x 8
/// blocks, one above the other: those in registers 2·Half and 2·Half + 1 of an A fragment, which
/// are a B operand of their transposes. Times one that gives the transposes. The tensor core takes
/// the bits for f16 and f16 it returns, packed as they came: a product with one is exact, and
/// finite bf16 below 2^121 are finite as f16. `one` is the lane's unit_fragment().
template <int Half, bool kSplit>
__device__ __forceinline__ Operand<2, kSplit> transpose(const Operand<4, kSplit>& a,
                                                        const unsigned (&one)[4]) {
    Operand<2, kSplit> to;
    const auto turn = [&one](const unsigned(&from)[4], unsigned(&result)[2]) {
        asm("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, "
            "{%8,%8};"
            : "=r"(result[0]), "=r"(result[1])
            : "r"(one[0]), "r"(one[1]), "r"(one[2]), "r"(one[3]), "r"(from[2 * Half]),
              "r"(from[2 * Half + 1]), "r"(0));
    };
    turn(a.high, to.high);
    if constexpr (kSplit) {
        turn(a.low, to.low);
        turn(a.rest, to.rest);
    }
    return to;
}

/// d = a·b or d += a·b with a 16 x 8, b 8 x 8: b = (2q,2q+1; g).
template <bool kAdd, bool kSplit>
__device__ __forceinline__ void multiply(float (&d)[4],
                                         const Operand<2, kSplit>& a,
                                         const Operand<1, kSplit>& b) {
    const auto product = [&d](const unsigned(&x)[2], unsigned y, bool more) {
        asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
            "{%7,%8,%9,%10};"
            : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
            : "r"(x[0]), "r"(x[1]), "r"(y), "f"(more ? d[0] : 0.0F), "f"(more ? d[1] : 0.0F),
              "f"(more ? d[2] : 0.0F), "f"(more ? d[3] : 0.0F));
    };
    if constexpr (kSplit) {
        product(a.rest, b.high[0], kAdd);
        product(a.high, b.rest[0], true);
        product(a.low, b.low[0], true);
        product(a.low, b.high[0], true);
        product(a.high, b.low[0], true);
    }
    product(a.high, b.high[0], kAdd || kSplit);
}

/// Written to shared memory and read back from there, since the compiler would make registers that
/// it can compute anew for every product.
__device__ __forceinline__ uint4 unit_fragment(int lane) {
    const int row = lane / 4;
    const int column = lane % 4 * 2;
    const unsigned pair = row == column ? 0x00003c00U : row == column + 1 ? 0x3c000000U : 0U;
    return make_uint4(pair, 0, 0, pair);
}

}  // namespace mambase::cuda
