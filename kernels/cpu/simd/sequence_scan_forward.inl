// Selective scan, forward.
//
// A task is a block of channels of one lane, walked in tiles of kScanTile positions. What each
// position needs of a channel alone (delta, delta·x, d·x, the gate) is computed for a whole tile
// outside the loop over states; inside it, two vectors of channels go side by side, so that their
// chains of dependent operations overlap, and no sum runs across a vector.
#pragma once

#include "kernels/cpu/simd/math.inl"
#include "kernels/cpu/simd/sequence_kernels.hpp"
#include "kernels/cpu/simd/sequence_rows.inl"

namespace mambase::cpu {
namespace {

/// Channels that go side by side; whole panels make up a block.
#if defined(__AVX512F__)
using ForwardPanel = VecPair<Vec>;
#else
using ForwardPanel = VecPair<VecPair<Vec>>;
#endif
static_assert(kScanBlock % ForwardPanel::kWidth == 0);

constexpr float kLog2e = 1.44269504F;
constexpr float kLn2 = 0.693147181F;

/// [tile position, channel of the block]
using ScanRows = float[kScanTile][kScanBlock];

/// to[n][e] = from[e][n]; zeros where `from` is null or has no such channel.
inline void transpose_in(const ScanInput& in, const float* from, float* to) {
    for (std::int64_t n = 0; n < in.state; ++n) {
        for (std::int64_t e = 0; e < kScanBlock; ++e) {
            to[n * kScanBlock + e] =
                from != nullptr && e < in.channels ? from[e * in.state + n] : 0.0F;
        }
    }
}

inline void transpose_out(const ScanInput& in, const float* from, float* to) {
    for (std::int64_t e = 0; e < in.channels; ++e) {
        for (std::int64_t n = 0; n < in.state; ++n) {
            to[e * in.state + n] = from[n * kScanBlock + e];
        }
    }
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
    using V = ForwardPanel;
    for (std::int64_t t = 0; t < rows; ++t) {
        const float* const x_row = in.x + (first + t) * in.x_stride;
        const float* const dt_row = in.dt_raw + (first + t) * in.dt_raw_stride;
        for (std::int64_t e = 0; e < in.channels; e += V::kWidth) {
            const std::int64_t left = in.channels - e;
            const V x = load_channels<V>(x_row + e, left);
            const V r = load_channels<V>(dt_row + e, left) + load_channels<V>(in.dt_bias + e, left);
            const V delta = softplus(r, exp_of_minus_magnitude(r));
            store(tile.delta[t] + e, delta);
            store(tile.delta_x[t] + e, delta * x);
            store(tile.out[t] + e, load_channels<V>(in.d + e, left) * x);
        }
    }
}

/// One position of one panel, all states: h = a·h + (delta·x)·b, out += c·h.
template <class V>
[[gnu::always_inline]] inline void step_forward(const float* rates,
                                                const float* b,
                                                const float* c,
                                                std::int64_t states,
                                                V delta,
                                                V delta_x,
                                                float* h,
                                                float* out) {
    V sum = load_as<V>(out);
    for (std::int64_t n = 0; n < states; ++n) {
        const V a = exp2_nonpositive(delta * load_as<V>(rates + n * kScanBlock));
        const V ah = a * load_as<V>(h + n * kScanBlock);
        const V next = fma(delta_x, broadcast_as<V>(b[n]), ah);
        store(h + n * kScanBlock, next);
        sum = fma(broadcast_as<V>(c[n]), next, sum);
    }
    store(out, sum);
}

template <class V>
[[gnu::always_inline]] inline void clear_state(float* h, std::int64_t states) {
    for (std::int64_t n = 0; n < states; ++n) {
        store(h + n * kScanBlock, broadcast_as<V>(0.0F));
    }
}

inline void finish_forward(const ScanForward& task,
                           std::int64_t first,
                           std::int64_t rows,
                           const ScanTile& tile) {
    using V = ForwardPanel;
    const ScanInput& in = task.in;
    for (std::int64_t t = 0; t < rows; ++t) {
        float* const y = task.y + (first + t) * task.y_stride;
        for (std::int64_t e = 0; e < in.channels; e += V::kWidth) {
            const std::int64_t left = in.channels - e;
            V out = load_as<V>(tile.out[t] + e);
            if (in.z != nullptr) {
                const V z = load_channels<V>(in.z + (first + t) * in.z_stride + e, left);
                out = out * (z * logistic(z));
            }
            store_channels(y + e, out, left);
        }
    }
}

void scan_forward(const ScanForward& task) {
    using V = ForwardPanel;
    const ScanInput& in = task.in;
    const std::int64_t state_floats = in.state * kScanBlock;
    float* const rates = in.scratch;
    float* const h = rates + state_floats;
    ScanTile& tile = *reinterpret_cast<ScanTile*>(h + state_floats);
    load_decay_rates(in, rates);
    transpose_in(in, task.state_in, h);
    for (std::int64_t first = 0; first < in.length; first += kScanTile) {
        const std::int64_t rows = in.length - first < kScanTile ? in.length - first : kScanTile;
        if (task.saved != nullptr) {
            __builtin_memcpy(task.saved + first / kScanTile * state_floats, h,
                             static_cast<std::size_t>(state_floats) * sizeof(float));
        }
        prepare_forward(in, first, rows, tile);
        for (std::int64_t e = 0; e < in.channels; e += V::kWidth) {
            for (std::int64_t t = 0; t < rows; ++t) {
                if (e == 0) {
                    prefetch_inputs(in, first + t + kScanTile);
                    prefetch_row(task.y, task.y_stride, first + t, in.length, in.channels);
                }
                if (is_border(in.segment, first + t)) {
                    clear_state<V>(h + e, in.state);
                }
                step_forward(rates + e, in.b + (first + t) * in.b_stride,
                             in.c + (first + t) * in.c_stride, in.state,
                             load_as<V>(tile.delta[t] + e), load_as<V>(tile.delta_x[t] + e), h + e,
                             tile.out[t] + e);
            }
        }
        finish_forward(task, first, rows, tile);
    }
    if (task.state_out != nullptr) {
        transpose_out(in, h, task.state_out);
    }
}

}  // namespace
}  // namespace mambase::cpu
