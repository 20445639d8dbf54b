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
    float* decay;    // [tile, N, block]  a
    float* decayed;  // [tile, N, block]  a·h[t−1]
    float* dbc;      // [tile, 2N, vector]  sums over the vectors of the block
    BackwardTile* tile;

    explicit BackwardScratch(const ScanInput& in) {
        const std::int64_t state_floats = in.state * kScanBlock;
        rates = in.scratch;
        h = rates + state_floats;
        carry = h + state_floats;
        da = carry + state_floats;
        decay = da + state_floats + 2 * kScanBlock;
        decayed = decay + kScanTile * state_floats;
        dbc = decayed + kScanTile * state_floats;
        tile = reinterpret_cast<BackwardTile*>(dbc + kScanTile * 2 * in.state * Vec::kWidth);
    }
};

inline void prepare_backward(const ScanBackward& task,
                             std::int64_t first,
                             std::int64_t rows,
                             BackwardTile& tile) {
    const ScanInput& in = task.in;
    const auto one = broadcast_as<Block>(1.0F);
    const auto bias = load_channels<Block>(in.dt_bias, in.channels);
    const auto d = load_channels<Block>(in.d, in.channels);
    for (std::int64_t t = 0; t < rows; ++t) {
        const std::int64_t row = first + t;
        const auto x = load_channels<Block>(in.x + row * in.x_stride, in.channels);
        const auto r = load_channels<Block>(in.dt_raw + row * in.dt_raw_stride, in.channels) + bias;
        const Block exp_r = exp_of_minus_magnitude(r);
        const Block delta = softplus(r, exp_r);
        store(tile.x[t], x);
        store(tile.dt_slope[t], logistic(r, exp_r));
        store(tile.forward.delta[t], delta);
        store(tile.forward.delta_x[t], delta * x);
        store(tile.forward.out[t], d * x);
        auto dy = load_channels<Block>(task.dy + row * task.dy_stride, in.channels);
        if (in.z != nullptr) {
            const auto z = load_channels<Block>(in.z + row * in.z_stride, in.channels);
            const Block s = logistic(z);
            store(tile.gate_slope[t], dy * (s * fma(z, one - s, one)));
            dy = dy * (z * s);
        }
        store(tile.dy[t], dy);
    }
}

/// The forward step again, which keeps a and a·h[t−1] and gives dy·h for dc.
[[gnu::always_inline]] inline void recompute_step(const ScanInput& in,
                                                  const BackwardScratch& s,
                                                  std::int64_t row,
                                                  std::int64_t t) {
    ScanTile& tile = s.tile->forward;
    const auto delta = load_as<Block>(tile.delta[t]);
    const auto delta_x = load_as<Block>(tile.delta_x[t]);
    const auto dy = load_as<Block>(s.tile->dy[t]);
    auto out = load_as<Block>(tile.out[t]);
    const float* const b = in.b + row * in.b_stride;
    const float* const c = in.c + row * in.c_stride;
    float* const decay = s.decay + t * in.state * kScanBlock;
    float* const decayed = s.decayed + t * in.state * kScanBlock;
    float* const dc = s.dbc + (t * 2 + 1) * in.state * Vec::kWidth;
    for (std::int64_t n = 0; n < in.state; ++n) {
        const std::int64_t at = n * kScanBlock;
        const Block a = exp2_nonpositive(delta * load_as<Block>(s.rates + at));
        const Block ah = a * load_as<Block>(s.h + at);
        store(decay + at, a);
        store(decayed + at, ah);
        const Block h = fma(delta_x, broadcast_as<Block>(b[n]), ah);
        store(s.h + at, h);
        out = fma(broadcast_as<Block>(c[n]), h, out);
        store(dc + n * Vec::kWidth, sum_products(dy, h));
    }
    store(tile.out[t], out);
}

/// g[t] = c·dy + a[t+1]·g[t+1] and the sums that it enters.
[[gnu::always_inline]] inline void reverse_step(const ScanInput& in,
                                                const BackwardScratch& s,
                                                std::int64_t row,
                                                std::int64_t t) {
    const ScanTile& tile = s.tile->forward;
    const auto delta = load_as<Block>(tile.delta[t]);
    const auto delta_x = load_as<Block>(tile.delta_x[t]);
    const auto dy = load_as<Block>(s.tile->dy[t]);
    auto sum_bg = broadcast_as<Block>(0.0F);
    auto sum_agh = broadcast_as<Block>(0.0F);
    const float* const b = in.b + row * in.b_stride;
    const float* const c = in.c + row * in.c_stride;
    const float* const decay = s.decay + t * in.state * kScanBlock;
    const float* const decayed = s.decayed + t * in.state * kScanBlock;
    float* const db = s.dbc + t * 2 * in.state * Vec::kWidth;
    for (std::int64_t n = 0; n < in.state; ++n) {
        const std::int64_t at = n * kScanBlock;
        const Block g = fma(broadcast_as<Block>(c[n]), dy, load_as<Block>(s.carry + at));
        store(s.carry + at, load_as<Block>(decay + at) * g);
        store(db + n * Vec::kWidth, sum_products(delta_x, g));
        sum_bg = fma(broadcast_as<Block>(b[n]), g, sum_bg);
        const Block gah = g * load_as<Block>(decayed + at);
        sum_agh = fma(load_as<Block>(s.rates + at), gah, sum_agh);
        store(s.da + at, fma(delta, gah, load_as<Block>(s.da + at)));
    }
    store(s.tile->sum_bg[t], sum_bg);
    store(s.tile->sum_agh[t], sum_agh);
}

/// The states of a tile forward, then their gradients back.
inline void walk_tile(const ScanBackward& task,
                      const BackwardScratch& s,
                      std::int64_t first,
                      std::int64_t rows) {
    const ScanInput& in = task.in;
    const std::int64_t state_floats = in.state * kScanBlock;
    for (std::int64_t t = 0; t < rows; ++t) {
        prefetch_inputs(in, first - kScanTile + t);
        prefetch_row(task.dy, task.dy_stride, first - kScanTile + t, in.length, in.channels);
        const bool border = is_border(in.segment, first + t);
        if (border) {
            clear(s.h, state_floats);
        }
        recompute_step(in, s, first + t, t);
        if (border) {  // nothing passes to the left; a·h[t−1] is zero already
            clear(s.decay + t * state_floats, state_floats);
        }
    }
    for (std::int64_t t = rows - 1; t >= 0; --t) {
        prefetch_row(task.dx, task.dx_stride, first + t, in.length, in.channels);
        prefetch_row(task.ddt_raw, task.ddt_raw_stride, first + t, in.length, in.channels);
        prefetch_row(task.dz, task.dz_stride, first + t, in.length, in.channels);
        reverse_step(in, s, first + t, t);
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
    const auto d = load_channels<Block>(in.d, in.channels);
    auto dd_sum = load_as<Block>(dd);
    auto dbias_sum = load_as<Block>(dbias);
    for (std::int64_t t = rows - 1; t >= 0; --t) {
        const std::int64_t row = first + t;
        const auto x = load_as<Block>(tile.x[t]);
        const auto dy = load_as<Block>(tile.dy[t]);
        const auto sum_bg = load_as<Block>(tile.sum_bg[t]);
        // The rates carry log2(e).
        const Block ddelta =
            fma(x, sum_bg, load_as<Block>(tile.sum_agh[t]) * broadcast_as<Block>(kLn2));
        const Block dr = ddelta * load_as<Block>(tile.dt_slope[t]);
        const Block dx = fma(load_as<Block>(tile.forward.delta[t]), sum_bg, d * dy);
        store_channels(task.dx + row * task.dx_stride, dx, in.channels);
        store_channels(task.ddt_raw + row * task.ddt_raw_stride, dr, in.channels);
        if (in.z != nullptr) {
            const Block dz =
                load_as<Block>(tile.gate_slope[t]) * load_as<Block>(tile.forward.out[t]);
            store_channels(task.dz + row * task.dz_stride, dz, in.channels);
        }
        dd_sum = fma(dy, x, dd_sum);
        dbias_sum = dbias_sum + dr;
    }
    store(dd, dd_sum);
    store(dbias, dbias_sum);
}

/// The sums of the elements of `Count` vectors in a row: vector i's in element i, and again at
/// every distance of Count. Halves the additions and shuffles of one sum after another.
template <int Count>
[[gnu::always_inline]] inline Vec sums_of(const float* from) {
    if constexpr (Count == 1) {
        return load(from);
    } else {
        constexpr int half = Count / 2;
        const Vec a = sums_of<half>(from);
        const Vec b = sums_of<half>(from + half * Vec::kWidth);
        return blend<half>(a, b) + exchange<half>(blend<half>(b, a));
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
    clear(s.da, state_floats + 2 * kScanBlock);
    for (std::int64_t index = (in.length + kScanTile - 1) / kScanTile - 1; index >= 0; --index) {
        const std::int64_t first = index * kScanTile;
        const std::int64_t rows = in.length - first < kScanTile ? in.length - first : kScanTile;
        __builtin_memcpy(s.h, task.saved + index * state_floats,
                         static_cast<std::size_t>(state_floats) * sizeof(float));
        prepare_backward(task, first, rows, *s.tile);
        walk_tile(task, s, first, rows);
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
