// What the kernels of the backward selective scan have in common.
// B lanes, T positions, E channels, N states.
#pragma once

#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/cuda/selective_scan.cuh"

#include <cstdint>

namespace mambase::cuda {

/// Positions of a block. In training, whose chunks and lots are short, fewer, to have enough blocks
/// for the card; so where a call is short by itself.
constexpr int kBackTile = 4096;
constexpr int kShortBackTile = 2048;
constexpr std::int64_t kShort = 8192;
constexpr int back_tile(std::int64_t length, bool for_training) {
    return for_training || length <= kShort ? kShortBackTile : kBackTile;
}
constexpr int kBackStates = 16;  // states of one pass
constexpr int kBackChannels = 64;
constexpr int kBackThreads = 128;
constexpr int kBackWarps = kBackThreads / 32;
constexpr int kBackStage = 16;  // positions between two barriers
static_assert(kKept == 8, "a group of positions fills the eight columns of a product");
static_assert(kBackStage * kBackChannels == 8 * kBackThreads);
static_assert(kBackChannels == 16 * kBackWarps);

template <class T>
struct ScanGradParams {
    LaneRows<const T> x, dt_raw, z, b, c, dy;  // z may be absent
    LaneRows<T> dx, ddt_raw, dz;               // dz is where z is
    const float* a_log;                        // [E,N]
    const float* d;                            // [E]
    const float* dt_bias;                      // [E]
    const std::int32_t* segment;               // [B,T] or null
    const std::int64_t* valid;                 // [B] or null
    const float* kept;        // [B, ceil(T/kKept), E, kept_states]: the state before kKept·i
    const float* dstate_out;  // [B,E,N] or null
    float* dstate_in;         // [B,E,N] or null
    // Scratch.
    float* tile_dstate;  // [B,tiles,E,N]: each tile's own gradient of the state before it; after
                         // combine: of the state after it. null: zero
    float* tile_delta;   // [B,tiles,E]
    float* bc_parts;     // [windows, B, stages, 2·16·kBackStage]
    float* a_parts;      // [B,tiles,E,N]: da_log
    float* de_parts;     // [B,tiles,2,E]: dd, ddt_bias
    float* state_sums;   // [3, B·T, E]: sums over the states of the passes so far. null: one pass
    std::int64_t segment_stride;
    std::int64_t length;
    std::int64_t stages;  // ceil(T / kBackStage)
    int batch;
    int inner;
    int states;
    int tile;              // back_tile()
    int tiles;             // ceil(T / tile)
    int first_carry_tile;  // 0 where dstate_in is asked for, else 1: nothing reads the first's part
    int windows;           // ceil(E / kBackChannels)
    int first_state;       // of this pass
    int kept_states;       // N rounded up to kBackStates
};

/// softplus; of bf16 inputs by the logarithm of 1 + e, which is 2^-22 off in absolute terms: at a
/// delta of 1e-4 that is as much as the rounding of dt_raw to bf16.
template <class T>
__device__ __forceinline__ float grad_softplus(float r) {
    if constexpr (sizeof(T) == 4) {
        return softplus(r);
    } else {
        float log2_term;
        asm("lg2.approx.ftz.f32 %0, %1;"
            : "=f"(log2_term)
            : "f"(1.0F + exp2_approx(-fabsf(r) * kLog2e)));
        return fmaf(log2_term, 0.6931471805599453F, fmaxf(r, 0.0F));
    }
}

}  // namespace mambase::cuda
