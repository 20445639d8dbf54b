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

constexpr int kPanelVecs = 2;
constexpr std::int64_t kPanel = kPanelVecs * Vec::kWidth;  // channels that go side by side
static_assert(kScanBlock % kPanel == 0);

constexpr float kLog2e = 1.44269504F;
constexpr float kLn2 = 0.693147181F;

/// [tile position, channel of the block]
using ScanRows = float[kScanTile][kScanBlock];

/// Channels that are computed: whole panels, the ones past the end with x, dt_raw and a_log zero.
[[gnu::always_inline]] inline std::int64_t padded_channels(const ScanInput& in) {
    return (in.channels + kPanel - 1) / kPanel * kPanel;
}

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

[[gnu::always_inline]] inline void prepare_forward(const ScanInput& in,
                                                   std::int64_t first,
                                                   std::int64_t rows,
                                                   ScanTile& tile) {
    for (std::int64_t t = 0; t < rows; ++t) {
        const float* const x_row = in.x + (first + t) * in.x_stride;
        const float* const dt_row = in.dt_raw + (first + t) * in.dt_raw_stride;
        for (std::int64_t e = 0; e < padded_channels(in); e += Vec::kWidth) {
            const std::int64_t left = in.channels - e;
            const Vec x = load_channels(x_row + e, left);
            const Vec r = load_channels(dt_row + e, left) + load_channels(in.dt_bias + e, left);
            const Vec delta = softplus(r, exp_of_minus_magnitude(r));
            store(tile.delta[t] + e, delta);
            store(tile.delta_x[t] + e, delta * x);
            store(tile.out[t] + e, load_channels(in.d + e, left) * x);
        }
    }
}

/// One position of one panel, all states: h = a·h + (delta·x)·b, out += c·h.
[[gnu::always_inline]] inline void step_forward(const float* rates,
                                                const float* b,
                                                const float* c,
                                                std::int64_t states,
                                                Vec delta0,
                                                Vec delta1,
                                                Vec delta_x0,
                                                Vec delta_x1,
                                                float* h,
                                                float* out) {
    Vec out0 = load(out);
    Vec out1 = load(out + Vec::kWidth);
    std::int64_t n = 0;
    for (; n + 1 < states; n += 2) {
        float* const at = h + n * kScanBlock;
        const float* const rate = rates + n * kScanBlock;
        Vec a[] = {delta0 * load(rate), delta1 * load(rate + Vec::kWidth),
                   delta0 * load(rate + kScanBlock), delta1 * load(rate + kScanBlock + Vec::kWidth)};
        exp2_nonpositive(a);
        const Vec h0 = fma(delta_x0, broadcast(b[n]), a[0] * load(at));
        const Vec h1 = fma(delta_x1, broadcast(b[n]), a[1] * load(at + Vec::kWidth));
        const Vec h2 = fma(delta_x0, broadcast(b[n+1]), a[2] * load(at+kScanBlock));
        const Vec h3 = fma(delta_x1, broadcast(b[n+1]), a[3] * load(at +kScanBlock+ Vec::kWidth));
        store(at, h0);
        store(at + Vec::kWidth, h1);
        store(at + kScanBlock, h2);
        store(at + kScanBlock+ Vec::kWidth, h3);
        out0 = fma(broadcast(c[n]), h0, out0);
        out1 = fma(broadcast(c[n]), h1, out1);
        out0 = fma(broadcast(c[n+1]), h2, out0);
        out1 = fma(broadcast(c[n+1]), h3, out1);
    }
    for (; n < states; ++n) {
        float* const at = h + n * kScanBlock;
        const float* const rate = rates + n * kScanBlock;
        const Vec b_n = broadcast(b[n]);
        const Vec c_n = broadcast(c[n]);
        Vec a[] = {delta0 * load(rate), delta1 * load(rate + Vec::kWidth)};
        exp2_nonpositive(a);
        const Vec h0 = fma(delta_x0, b_n, a[0] * load(at));
        const Vec h1 = fma(delta_x1, b_n, a[1] * load(at + Vec::kWidth));
        store(at, h0);
        store(at + Vec::kWidth, h1);
        out0 = fma(c_n, h0, out0);
        out1 = fma(c_n, h1, out1);
    }
    store(out, out0);
    store(out + Vec::kWidth, out1);
}

inline void clear_state(float* h, std::int64_t states) {
    for (std::int64_t n = 0; n < states; ++n) {
        store(h + n * kScanBlock, zero());
        store(h + n * kScanBlock + Vec::kWidth, zero());
    }
}

inline void finish_forward(const ScanForward& task,
                           std::int64_t first,
                           std::int64_t rows,
                           const ScanTile& tile) {
    const ScanInput& in = task.in;
    for (std::int64_t t = 0; t < rows; ++t) {
        float* const y = task.y + (first + t) * task.y_stride;
        for (std::int64_t e = 0; e < in.channels; e += Vec::kWidth) {
            const std::int64_t left = in.channels - e;
            Vec out = load(tile.out[t] + e);
            if (in.z != nullptr) {
                const Vec z = load_channels(in.z + (first + t) * in.z_stride + e, left);
                out = out * (z * logistic(z));
            }
            store_channels(y + e, out, left);
        }
    }
}

void scan_forward(const ScanForward& task) {
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
        for (std::int64_t e = 0; e < padded_channels(in); e += kPanel) {
            for (std::int64_t t = 0; t < rows; ++t) {
                if (is_border(in.segment, first + t)) {
                    clear_state(h + e, in.state);
                }
                if (e == 0) {
                    prefetch_inputs(in, first + t + kScanTile);
                    prefetch_row(task.y, task.y_stride, first + t, in.length, in.channels);
                }
                step_forward(rates + e, in.b + (first + t) * in.b_stride,
                             in.c + (first + t) * in.c_stride, in.state, load(tile.delta[t] + e),
                             load(tile.delta[t] + e + Vec::kWidth), load(tile.delta_x[t] + e),
                             load(tile.delta_x[t] + e + Vec::kWidth), h + e, tile.out[t] + e);
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
