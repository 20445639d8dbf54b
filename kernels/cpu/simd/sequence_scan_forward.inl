// Selective scan, forward.
//
// A task is a block of channels of one lane, walked in tiles of kScanTile positions. What each
// position needs of a channel alone (delta, delta·x, d·x, the gate) is computed for a whole tile
// outside the loop over states; inside it no sum runs across a vector.
#pragma once

#include "kernels/cpu/simd/math.inl"
#include "kernels/cpu/simd/sequence_kernels.hpp"
#include "kernels/cpu/simd/sequence_rows.inl"
#include "kernels/cpu/simd/transpose.inl"

namespace mambase::cpu {
namespace {

/// The channels of a task, as many vectors as that takes; all of them go side by side.
#if defined(__AVX512F__)
using Block = VecPair<Vec>;
#elif defined(__AVX2__) && defined(__FMA__)
using Block = VecPair<VecPair<Vec>>;
#else
using Block = VecPair<VecPair<VecPair<Vec>>>;
#endif
static_assert(Block::kWidth == kScanBlock);

constexpr float kLog2e = 1.44269504F;
constexpr float kLn2 = 0.693147181F;

/// [tile position, channel of the block]
using ScanRows = float[kScanTile][kScanBlock];

inline void clear(float* values, std::int64_t count) {
    for (std::int64_t i = 0; i < count; i += Vec::kWidth) {
        store(values + i, zero());
    }
}

/// to[n][e] = from[e][n]; zeros where `from` is null or has no such channel.
inline void transpose_in(const ScanInput& in, const float* from, float* to) {
    if (from == nullptr || in.channels < kScanBlock) {
        clear(to, in.state * kScanBlock);
    }
    if (from != nullptr) {
        transpose(from, in.state, in.channels, in.state, to, kScanBlock);
    }
}

inline void transpose_out(const ScanInput& in, const float* from, float* to) {
    transpose(from, kScanBlock, in.state, in.channels, to, in.state);
}

/// a[n][e] = −exp(a_log)·log2(e), so that the decay is 2^(delta·a).
inline void load_decay_rates(const ScanInput& in, float* a) {
    transpose_in(in, in.a_log, a);
    for (std::int64_t i = 0; i < in.state * kScanBlock; i += Vec::kWidth) {
        store(a + i, exp(load(a + i)) * broadcast(-kLog2e));
    }
}

/// What the loop over states reads and writes of each position of a tile.
struct ScanTile {
    ScanRows delta;
    ScanRows delta_x;
    ScanRows out;  // before the gate; starts as d·x
};

[[gnu::always_inline]] inline void prefetch_inputs(const ScanInput& in, std::int64_t t) {
    prefetch_row(in.x, in.x_stride, t, in.length, in.channels);
    prefetch_row(in.dt_raw, in.dt_raw_stride, t, in.length, in.channels);
    prefetch_row(in.z, in.z_stride, t, in.length, in.channels);
}

/// Channels past the last one get x, dt_raw and d of zero.
inline void prepare_forward(const ScanInput& in,
                            std::int64_t first,
                            std::int64_t rows,
                            ScanTile& tile) {
    const auto bias = load_channels<Block>(in.dt_bias, in.channels);
    const auto d = load_channels<Block>(in.d, in.channels);
    for (std::int64_t t = 0; t < rows; ++t) {
        const auto x = load_channels<Block>(in.x + (first + t) * in.x_stride, in.channels);
        const auto r =
            load_channels<Block>(in.dt_raw + (first + t) * in.dt_raw_stride, in.channels) + bias;
        const Block delta = softplus(r, exp_of_minus_magnitude(r));
        store(tile.delta[t], delta);
        store(tile.delta_x[t], delta * x);
        store(tile.out[t], d * x);
    }
}

/// One position, all states: h = a·h + (delta·x)·b, out += c·h.
[[gnu::always_inline]] inline void step_forward(const ScanInput& in,
                                                std::int64_t row,
                                                const float* rates,
                                                const float* delta_row,
                                                const float* delta_x_row,
                                                float* h,
                                                float* out) {
    const float* const b = in.b + row * in.b_stride;
    const float* const c = in.c + row * in.c_stride;
    const auto delta = load_as<Block>(delta_row);
    const auto delta_x = load_as<Block>(delta_x_row);
    auto sum = load_as<Block>(out);
    for (std::int64_t n = 0; n < in.state; ++n) {
        const Block a = exp2_nonpositive(delta * load_as<Block>(rates + n * kScanBlock));
        const Block ah = a * load_as<Block>(h + n * kScanBlock);
        const Block next = fma(delta_x, broadcast_as<Block>(b[n]), ah);
        store(h + n * kScanBlock, next);
        sum = fma(broadcast_as<Block>(c[n]), next, sum);
    }
    store(out, sum);
}

inline void finish_forward(const ScanForward& task,
                           std::int64_t first,
                           std::int64_t rows,
                           const ScanTile& tile) {
    const ScanInput& in = task.in;
    for (std::int64_t t = 0; t < rows; ++t) {
        auto out = load_as<Block>(tile.out[t]);
        if (in.z != nullptr) {
            const auto z = load_channels<Block>(in.z + (first + t) * in.z_stride, in.channels);
            out = out * (z * logistic(z));
        }
        store_channels(task.y + (first + t) * task.y_stride, out, in.channels);
    }
}

void scan_forward(const ScanForward& task) {
    const ScanInput& in = task.in;
    const std::int64_t state_floats = in.state * kScanBlock;
    float* const rates = in.scratch;
    float* const h = rates + state_floats;
    ScanTile& tile = *reinterpret_cast<ScanTile*>(h + state_floats);
    if (!task.rates_are_there) {
        load_decay_rates(in, rates);
    }
    transpose_in(in, task.state_in, h);
    for (std::int64_t first = 0; first < in.length; first += kScanTile) {
        const std::int64_t rows = in.length - first < kScanTile ? in.length - first : kScanTile;
        if (task.saved != nullptr) {
            __builtin_memcpy(task.saved + first / kScanTile * state_floats, h,
                             static_cast<std::size_t>(state_floats) * sizeof(float));
        }
        prepare_forward(in, first, rows, tile);
        for (std::int64_t t = 0; t < rows; ++t) {
            prefetch_inputs(in, first + t + kScanTile);
            prefetch_row(task.y, task.y_stride, first + t, in.length, in.channels);
            if (is_border(in.segment, first + t)) {
                clear(h, state_floats);
            }
            step_forward(in, first + t, rates, tile.delta[t], tile.delta_x[t], h, tile.out[t]);
        }
        finish_forward(task, first, rows, tile);
    }
    if (task.state_out != nullptr) {
        transpose_out(in, h, task.state_out);
    }
}

}  // namespace
}  // namespace mambase::cpu
