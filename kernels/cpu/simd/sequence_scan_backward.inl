// Selective scan, backward (formulas: spec Mamba 1.9).
//
// A block of channels of one lane is walked in tiles from right to left. In each tile the states
// are recomputed from the one kept at its start, keeping the decays a and the products a·h[t−1];
// then the gradient g of the state runs back through it. Between tiles, and between calls, a·g is
// carried. Sums over channels (db, dc) are kept as vectors until a tile is done, sums over
// positions (da_log, dd, ddt_bias) until a gradient tile is done.
#pragma once

#include "kernels/cpu/gradient_tile.hpp"
#include "kernels/cpu/simd/sequence_scan_forward.inl"

namespace mambase::cpu {
namespace {

static_assert(kGradientTile % kScanTile == 0);

/// Per position and channel, beside what the forward pass needs.
struct BackwardTile {
    ScanTile forward;
    ScanRows x;
    ScanRows dt_slope;    // d delta / d dt_raw
    ScanRows dy;          // gradient of `out`
    ScanRows gate_slope;  // d y / d z, over `out`, times the gradient of y
    ScanRows sum_bg;      // Σ_n b·g
    ScanRows sum_agh;     // Σ_n a_rate·g·a·h[t−1]
};

/// Memory of a task, cut out of its scratch.
struct BackwardScratch {
    float* rates;    // [N, block]
    float* h;        // [N, block]
    float* carry;    // [N, block]  a·g of the position to the right
    float* da;       // [N + 2, block] sums over the gradient tile: of the rates, of d, of dt_bias
    float* decay;    // [tile, N, panel]  a
    float* decayed;  // [tile, N, panel]  a·h[t−1]
    float* dbc;      // [tile, 2N, vector]  sums over panels
    BackwardTile* tile;

    explicit BackwardScratch(const ScanInput& in) {
        const std::int64_t state_floats = in.state * kScanBlock;
        rates = in.scratch;
        h = rates + state_floats;
        carry = h + state_floats;
        da = carry + state_floats;
        decay = da + state_floats + 2 * kScanBlock;
        decayed = decay + kScanTile * in.state * kPanel;
        dbc = decayed + kScanTile * in.state * kPanel;
        tile = reinterpret_cast<BackwardTile*>(dbc + kScanTile * 2 * in.state * Vec::kWidth);
    }
};

inline void prepare_backward(const ScanBackward& task,
                             std::int64_t first,
                             std::int64_t rows,
                             BackwardTile& tile) {
    const ScanInput& in = task.in;
    for (std::int64_t t = 0; t < rows; ++t) {
        const std::int64_t row = first + t;
        for (std::int64_t e = 0; e < padded_channels(in); e += Vec::kWidth) {
            const std::int64_t left = in.channels - e;
            const Vec x = load_channels(in.x + row * in.x_stride + e, left);
            const Vec r = load_channels(in.dt_raw + row * in.dt_raw_stride + e, left) +
                          load_channels(in.dt_bias + e, left);
            const Vec exp_r = exp_of_minus_magnitude(r);
            const Vec delta = softplus(r, exp_r);
            store(tile.x[t] + e, x);
            store(tile.dt_slope[t] + e, logistic(r, exp_r));
            store(tile.forward.delta[t] + e, delta);
            store(tile.forward.delta_x[t] + e, delta * x);
            store(tile.forward.out[t] + e, load_channels(in.d + e, left) * x);
            Vec dy = load_channels(task.dy + row * task.dy_stride + e, left);
            if (in.z != nullptr) {
                const Vec z = load_channels(in.z + row * in.z_stride + e, left);
                const Vec s = logistic(z);
                store(tile.gate_slope[t] + e,
                      dy * (s * fma(z, broadcast(1.0F) - s, broadcast(1.0F))));
                dy = dy * (z * s);
            }
            store(tile.dy[t] + e, dy);
        }
    }
}

/// The forward step again, which keeps a and a·h[t−1] and adds dy·h to dc.
template <bool IsFirstPanel>
[[gnu::always_inline]] inline void recompute_step(const ScanInput& in,
                                                  const BackwardScratch& s,
                                                  std::int64_t row,
                                                  std::int64_t t,
                                                  std::int64_t e) {
    constexpr std::int64_t kWidth = Vec::kWidth;
    const ScanTile& tile = s.tile->forward;
    const Vec delta0 = load(tile.delta[t] + e);
    const Vec delta1 = load(tile.delta[t] + e + kWidth);
    const Vec delta_x0 = load(tile.delta_x[t] + e);
    const Vec delta_x1 = load(tile.delta_x[t] + e + kWidth);
    const Vec dy0 = load(s.tile->dy[t] + e);
    const Vec dy1 = load(s.tile->dy[t] + e + kWidth);
    float* const out = s.tile->forward.out[t] + e;
    Vec out0 = load(out);
    Vec out1 = load(out + kWidth);
    const float* const b = in.b + row * in.b_stride;
    const float* const c = in.c + row * in.c_stride;
    float* const decay = s.decay + t * in.state * kPanel;
    float* const decayed = s.decayed + t * in.state * kPanel;
    float* const dc = s.dbc + (t * 2 + 1) * in.state * kWidth;
    for (std::int64_t n = 0; n < in.state; ++n) {
        float* const at = s.h + n * kScanBlock + e;
        const float* const rate = s.rates + n * kScanBlock + e;
        const Vec b_n = broadcast(b[n]);
        const Vec c_n = broadcast(c[n]);
        Vec a[] = {delta0 * load(rate), delta1 * load(rate + kWidth)};
        exp2_nonpositive(a);
        const Vec a0 = a[0];
        const Vec a1 = a[1];
        const Vec ah0 = a0 * load(at);
        const Vec ah1 = a1 * load(at + kWidth);
        store(decay + n * kPanel, a0);
        store(decay + n * kPanel + kWidth, a1);
        store(decayed + n * kPanel, ah0);
        store(decayed + n * kPanel + kWidth, ah1);
        const Vec h0 = fma(delta_x0, b_n, ah0);
        const Vec h1 = fma(delta_x1, b_n, ah1);
        store(at, h0);
        store(at + kWidth, h1);
        out0 = fma(c_n, h0, out0);
        out1 = fma(c_n, h1, out1);
        const Vec before = IsFirstPanel ? zero() : load(dc + n * kWidth);
        store(dc + n * kWidth, fma(dy1, h1, fma(dy0, h0, before)));
    }
    store(out, out0);
    store(out + kWidth, out1);
}

/// g[t] = c·dy + a[t+1]·g[t+1] and the sums that it enters.
template <bool IsFirstPanel>
[[gnu::always_inline]] inline void reverse_step(const ScanInput& in,
                                                const BackwardScratch& s,
                                                std::int64_t row,
                                                std::int64_t t,
                                                std::int64_t e) {
    constexpr std::int64_t kWidth = Vec::kWidth;
    const ScanTile& tile = s.tile->forward;
    const Vec delta0 = load(tile.delta[t] + e);
    const Vec delta1 = load(tile.delta[t] + e + kWidth);
    const Vec delta_x0 = load(tile.delta_x[t] + e);
    const Vec delta_x1 = load(tile.delta_x[t] + e + kWidth);
    const Vec dy0 = load(s.tile->dy[t] + e);
    const Vec dy1 = load(s.tile->dy[t] + e + kWidth);
    Vec sum_bg0 = zero();
    Vec sum_bg1 = zero();
    Vec sum_agh0 = zero();
    Vec sum_agh1 = zero();
    const float* const b = in.b + row * in.b_stride;
    const float* const c = in.c + row * in.c_stride;
    const float* const decay = s.decay + t * in.state * kPanel;
    const float* const decayed = s.decayed + t * in.state * kPanel;
    float* const db = s.dbc + t * 2 * in.state * kWidth;
    for (std::int64_t n = 0; n < in.state; ++n) {
        float* const carry = s.carry + n * kScanBlock + e;
        float* const da = s.da + n * kScanBlock + e;
        const float* const rate = s.rates + n * kScanBlock + e;
        const Vec b_n = broadcast(b[n]);
        const Vec c_n = broadcast(c[n]);
        const Vec g0 = fma(c_n, dy0, load(carry));
        const Vec g1 = fma(c_n, dy1, load(carry + kWidth));
        store(carry, load(decay + n * kPanel) * g0);
        store(carry + kWidth, load(decay + n * kPanel + kWidth) * g1);
        const Vec gah0 = g0 * load(decayed + n * kPanel);
        const Vec gah1 = g1 * load(decayed + n * kPanel + kWidth);
        sum_bg0 = fma(b_n, g0, sum_bg0);
        sum_bg1 = fma(b_n, g1, sum_bg1);
        sum_agh0 = fma(load(rate), gah0, sum_agh0);
        sum_agh1 = fma(load(rate + kWidth), gah1, sum_agh1);
        store(da, fma(delta0, gah0, load(da)));
        store(da + kWidth, fma(delta1, gah1, load(da + kWidth)));
        const Vec before = IsFirstPanel ? zero() : load(db + n * kWidth);
        store(db + n * kWidth, fma(delta_x1, g1, fma(delta_x0, g0, before)));
    }
    store(s.tile->sum_bg[t] + e, sum_bg0);
    store(s.tile->sum_bg[t] + e + kWidth, sum_bg1);
    store(s.tile->sum_agh[t] + e, sum_agh0);
    store(s.tile->sum_agh[t] + e + kWidth, sum_agh1);
}

template <bool IsFirstPanel>
[[gnu::always_inline]] inline void reverse_panel(const ScanInput& in,
                                                 const BackwardScratch& s,
                                                 std::int64_t first,
                                                 std::int64_t rows,
                                                 std::int64_t e) {
    for (std::int64_t t = 0; t < rows; ++t) {
        const bool border = is_border(in.segment, first + t);
        if (border) {
            clear_state(s.h + e, in.state);
        }
        recompute_step<IsFirstPanel>(in, s, first + t, t, e);
        if (border) {  // nothing passes to the left; a·h[t−1] is zero already
            for (std::int64_t i = 0; i < in.state * kPanel; i += Vec::kWidth) {
                store(s.decay + t * in.state * kPanel + i, zero());
            }
        }
    }
    for (std::int64_t t = rows - 1; t >= 0; --t) {
        reverse_step<IsFirstPanel>(in, s, first + t, t, e);
    }
}

/// Gradients of the activations, and the sums of dd and ddt_bias.
inline void finish_backward(const ScanBackward& task,
                            const BackwardScratch& s,
                            std::int64_t first,
                            std::int64_t rows) {
    const ScanInput& in = task.in;
    const BackwardTile& tile = *s.tile;
    float* const dd = s.da + in.state * kScanBlock;
    float* const dbias = dd + kScanBlock;
    for (std::int64_t t = rows - 1; t >= 0; --t) {
        const std::int64_t row = first + t;
        for (std::int64_t e = 0; e < in.channels; e += Vec::kWidth) {
            const std::int64_t left = in.channels - e;
            const Vec x = load(tile.x[t] + e);
            const Vec dy = load(tile.dy[t] + e);
            const Vec sum_bg = load(tile.sum_bg[t] + e);
            // The rates carry log2(e).
            const Vec ddelta = fma(x, sum_bg, load(tile.sum_agh[t] + e) * broadcast(kLn2));
            const Vec dr = ddelta * load(tile.dt_slope[t] + e);
            const Vec dx =
                fma(load(tile.forward.delta[t] + e), sum_bg, load_channels(in.d + e, left) * dy);
            store_channels(task.dx + row * task.dx_stride + e, dx, left);
            store_channels(task.ddt_raw + row * task.ddt_raw_stride + e, dr, left);
            if (in.z != nullptr) {
                store_channels(task.dz + row * task.dz_stride + e,
                               load(tile.gate_slope[t] + e) * load(tile.forward.out[t] + e), left);
            }
            store(dd + e, fma(dy, x, load(dd + e)));
            store(dbias + e, load(dbias + e) + dr);
        }
    }
}

/// Sums over the block's channels, [tile, 2N].
inline void reduce_dbc(const ScanInput& in, const float* from, std::int64_t rows, float* to) {
    for (std::int64_t i = 0; i < rows * 2 * in.state; ++i) {
        to[i] = reduce_add(load(from + i * Vec::kWidth));
    }
}

/// Writes out the sums of a gradient tile and starts the next.
inline void flush_parameters(const ScanInput& in, const BackwardScratch& s, float* to) {
    const std::int64_t state_floats = in.state * kScanBlock;
    for (std::int64_t i = 0; i < state_floats + 2 * kScanBlock; i += Vec::kWidth) {
        Vec sum = load(s.da + i);
        if (i < state_floats) {  // d a_log = d A · A
            sum = sum * (load(s.rates + i) * broadcast(kLn2));
        }
        store(to + i, sum);
        store(s.da + i, zero());
    }
}

void scan_backward(const ScanBackward& task) {
    const ScanInput& in = task.in;
    const BackwardScratch s(in);
    const std::int64_t state_floats = in.state * kScanBlock;
    load_decay_rates(in, s.rates);
    transpose_in(in, task.dstate_out, s.carry);
    for (std::int64_t i = 0; i < state_floats + 2 * kScanBlock; i += Vec::kWidth) {
        store(s.da + i, zero());
    }
    for (std::int64_t index = (in.length + kScanTile - 1) / kScanTile - 1; index >= 0; --index) {
        const std::int64_t first = index * kScanTile;
        const std::int64_t rows = in.length - first < kScanTile ? in.length - first : kScanTile;
        __builtin_memcpy(s.h, task.saved + index * state_floats,
                         static_cast<std::size_t>(state_floats) * sizeof(float));
        prepare_backward(task, first, rows, *s.tile);
        reverse_panel<true>(in, s, first, rows, 0);
        for (std::int64_t e = kPanel; e < padded_channels(in); e += kPanel) {
            reverse_panel<false>(in, s, first, rows, e);
        }
        finish_backward(task, s, first, rows);
        reduce_dbc(in, s.dbc, rows, task.dbc + first * 2 * in.state);
        if (first % kGradientTile == 0) {
            flush_parameters(
                in, s, task.parameter_tiles + first / kGradientTile * task.parameter_tile_stride);
        }
    }
    if (task.dstate_in != nullptr) {
        transpose_out(in, s.carry, task.dstate_in);
    }
}

}  // namespace
}  // namespace mambase::cpu
