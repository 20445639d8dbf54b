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

/// Channels that go side by side; fewer than forward, so that a tile's decays stay in the
/// first-level cache.
using BackwardPanel = VecPair<Vec>;
constexpr std::int64_t kPanel = BackwardPanel::kWidth;
static_assert(kScanBlock % kPanel == 0);

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
    using V = ForwardPanel;
    const ScanInput& in = task.in;
    const V one = broadcast_as<V>(1.0F);
    for (std::int64_t t = 0; t < rows; ++t) {
        const std::int64_t row = first + t;
        for (std::int64_t e = 0; e < in.channels; e += V::kWidth) {
            const std::int64_t left = in.channels - e;
            const V x = load_channels<V>(in.x + row * in.x_stride + e, left);
            const V r = load_channels<V>(in.dt_raw + row * in.dt_raw_stride + e, left) +
                        load_channels<V>(in.dt_bias + e, left);
            const V exp_r = exp_of_minus_magnitude(r);
            const V delta = softplus(r, exp_r);
            store(tile.x[t] + e, x);
            store(tile.dt_slope[t] + e, logistic(r, exp_r));
            store(tile.forward.delta[t] + e, delta);
            store(tile.forward.delta_x[t] + e, delta * x);
            store(tile.forward.out[t] + e, load_channels<V>(in.d + e, left) * x);
            V dy = load_channels<V>(task.dy + row * task.dy_stride + e, left);
            if (in.z != nullptr) {
                const V z = load_channels<V>(in.z + row * in.z_stride + e, left);
                const V s = logistic(z);
                store(tile.gate_slope[t] + e, dy * (s * fma(z, one - s, one)));
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
    using V = BackwardPanel;
    const ScanTile& tile = s.tile->forward;
    const V delta = load_as<V>(tile.delta[t] + e);
    const V delta_x = load_as<V>(tile.delta_x[t] + e);
    const V dy = load_as<V>(s.tile->dy[t] + e);
    V out = load_as<V>(tile.out[t] + e);
    const float* const b = in.b + row * in.b_stride;
    const float* const c = in.c + row * in.c_stride;
    float* const decay = s.decay + t * in.state * kPanel;
    float* const decayed = s.decayed + t * in.state * kPanel;
    float* const dc = s.dbc + (t * 2 + 1) * in.state * Vec::kWidth;
    for (std::int64_t n = 0; n < in.state; ++n) {
        float* const at = s.h + n * kScanBlock + e;
        const V a = exp2_nonpositive(delta * load_as<V>(s.rates + n * kScanBlock + e));
        const V ah = a * load_as<V>(at);
        store(decay + n * kPanel, a);
        store(decayed + n * kPanel, ah);
        const V h = fma(delta_x, broadcast_as<V>(b[n]), ah);
        store(at, h);
        out = fma(broadcast_as<V>(c[n]), h, out);
        const Vec share = fold(dy * h);
        store(dc + n * Vec::kWidth, IsFirstPanel ? share : load(dc + n * Vec::kWidth) + share);
    }
    store(s.tile->forward.out[t] + e, out);
}

/// g[t] = c·dy + a[t+1]·g[t+1] and the sums that it enters.
template <bool IsFirstPanel>
[[gnu::always_inline]] inline void reverse_step(const ScanInput& in,
                                                const BackwardScratch& s,
                                                std::int64_t row,
                                                std::int64_t t,
                                                std::int64_t e) {
    using V = BackwardPanel;
    const ScanTile& tile = s.tile->forward;
    const V delta = load_as<V>(tile.delta[t] + e);
    const V delta_x = load_as<V>(tile.delta_x[t] + e);
    const V dy = load_as<V>(s.tile->dy[t] + e);
    V sum_bg = broadcast_as<V>(0.0F);
    V sum_agh = broadcast_as<V>(0.0F);
    const float* const b = in.b + row * in.b_stride;
    const float* const c = in.c + row * in.c_stride;
    const float* const decay = s.decay + t * in.state * kPanel;
    const float* const decayed = s.decayed + t * in.state * kPanel;
    float* const db = s.dbc + t * 2 * in.state * Vec::kWidth;
    for (std::int64_t n = 0; n < in.state; ++n) {
        float* const carry = s.carry + n * kScanBlock + e;
        float* const da = s.da + n * kScanBlock + e;
        const V g = fma(broadcast_as<V>(c[n]), dy, load_as<V>(carry));
        store(carry, load_as<V>(decay + n * kPanel) * g);
        const V gah = g * load_as<V>(decayed + n * kPanel);
        sum_bg = fma(broadcast_as<V>(b[n]), g, sum_bg);
        sum_agh = fma(load_as<V>(s.rates + n * kScanBlock + e), gah, sum_agh);
        store(da, fma(delta, gah, load_as<V>(da)));
        const Vec share = fold(delta_x * g);
        store(db + n * Vec::kWidth, IsFirstPanel ? share : load(db + n * Vec::kWidth) + share);
    }
    store(s.tile->sum_bg[t] + e, sum_bg);
    store(s.tile->sum_agh[t] + e, sum_agh);
}

template <bool IsFirstPanel>
[[gnu::always_inline]] inline void reverse_panel(const ScanBackward& task,
                                                 const BackwardScratch& s,
                                                 std::int64_t first,
                                                 std::int64_t rows,
                                                 std::int64_t e) {
    using V = BackwardPanel;
    const ScanInput& in = task.in;
    for (std::int64_t t = 0; t < rows; ++t) {
        if (IsFirstPanel) {  // of the tile to the left, then the rows that this one will write
            prefetch_inputs(in, first - kScanTile + t);
            prefetch_row(task.dy, task.dy_stride, first - kScanTile + t, in.length, in.channels);
        }
        const bool border = is_border(in.segment, first + t);
        if (border) {
            clear_state<V>(s.h + e, in.state);
        }
        recompute_step<IsFirstPanel>(in, s, first + t, t, e);
        if (border) {  // nothing passes to the left; a·h[t−1] is zero already
            for (std::int64_t n = 0; n < in.state; ++n) {
                store(s.decay + (t * in.state + n) * kPanel, broadcast_as<V>(0.0F));
            }
        }
    }
    for (std::int64_t t = rows - 1; t >= 0; --t) {
        if (IsFirstPanel) {
            prefetch_row(task.dx, task.dx_stride, first + t, in.length, in.channels);
            prefetch_row(task.ddt_raw, task.ddt_raw_stride, first + t, in.length, in.channels);
            prefetch_row(task.dz, task.dz_stride, first + t, in.length, in.channels);
        }
        reverse_step<IsFirstPanel>(in, s, first + t, t, e);
    }
}

/// Gradients of the activations, and the sums of dd and ddt_bias.
inline void finish_backward(const ScanBackward& task,
                            const BackwardScratch& s,
                            std::int64_t first,
                            std::int64_t rows) {
    using V = BackwardPanel;
    const ScanInput& in = task.in;
    const BackwardTile& tile = *s.tile;
    float* const dd = s.da + in.state * kScanBlock;
    float* const dbias = dd + kScanBlock;
    for (std::int64_t e = 0; e < in.channels; e += V::kWidth) {
        const std::int64_t left = in.channels - e;
        const V d = load_channels<V>(in.d + e, left);
        V dd_sum = load_as<V>(dd + e);
        V dbias_sum = load_as<V>(dbias + e);
        for (std::int64_t t = rows - 1; t >= 0; --t) {
            const std::int64_t row = first + t;
            const V x = load_as<V>(tile.x[t] + e);
            const V dy = load_as<V>(tile.dy[t] + e);
            const V sum_bg = load_as<V>(tile.sum_bg[t] + e);
            // The rates carry log2(e).
            const V ddelta =
                fma(x, sum_bg, load_as<V>(tile.sum_agh[t] + e) * broadcast_as<V>(kLn2));
            const V dr = ddelta * load_as<V>(tile.dt_slope[t] + e);
            const V dx = fma(load_as<V>(tile.forward.delta[t] + e), sum_bg, d * dy);
            store_channels(task.dx + row * task.dx_stride + e, dx, left);
            store_channels(task.ddt_raw + row * task.ddt_raw_stride + e, dr, left);
            if (in.z != nullptr) {
                const V dz =
                    load_as<V>(tile.gate_slope[t] + e) * load_as<V>(tile.forward.out[t] + e);
                store_channels(task.dz + row * task.dz_stride + e, dz, left);
            }
            dd_sum = fma(dy, x, dd_sum);
            dbias_sum = dbias_sum + dr;
        }
        store(dd + e, dd_sum);
        store(dbias + e, dbias_sum);
    }
}

/// The sums of the elements of `Count` vectors in a row: vector i's in element i, and again at
/// every distance of Count. Halves the additions and shuffles of one sum after another.
template <int Count>
[[gnu::always_inline]] inline Vec sums_of(const float* from) {
    if constexpr (Count == 1) {
        return load(from);
    } else {
        constexpr int kHalf = Count / 2;
        const Vec a = sums_of<kHalf>(from);
        const Vec b = sums_of<kHalf>(from + kHalf * Vec::kWidth);
        return blend<kHalf>(a, b) + exchange<kHalf>(blend<kHalf>(b, a));
    }
}

/// Sums over the block's channels, [tile, 2N].
inline void reduce_dbc(const ScanInput& in, const float* from, std::int64_t rows, float* to) {
    const std::int64_t count = rows * 2 * in.state;
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= count; i += Vec::kWidth) {
        store(to + i, sums_of<Vec::kWidth>(from + i * Vec::kWidth));
    }
    for (; i < count; ++i) {
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
        reverse_panel<true>(task, s, first, rows, 0);
        for (std::int64_t e = kPanel; e < in.channels; e += kPanel) {
            reverse_panel<false>(task, s, first, rows, e);
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
