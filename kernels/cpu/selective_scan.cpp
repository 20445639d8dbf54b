#include "kernels/ops/selective_scan.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"
#include "kernels/cpu/gradient_tile.hpp"
#include "kernels/cpu/sequence_tasks.hpp"
#include "kernels/cpu/simd/sequence_kernels.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::cpu {

namespace {

// Positions of a forward task, of as many lanes as that takes: what a block of channels wants
// before its first position costs as much as several of them.
constexpr std::int64_t kTaskPositions = 16;

struct Extents {
    std::int64_t batch, length, inner, state, blocks;

    std::int64_t saved_tiles() const { return ceil_div(length, kScanTile); }
    std::int64_t gradient_tiles() const { return ceil_div(length, kGradientTile); }
    std::int64_t saved_floats_per_task() const {
        return checked_mul(saved_tiles(), checked_mul(state, kScanBlock));
    }
    std::int64_t parameter_floats() const { return checked_mul(state + 2, kScanBlock); }
    std::int64_t scratch_floats() const {
        return checked_add(kScanScratchFixed, checked_mul(state, kScanScratchPerState));
    }
};

template <class Op>
Extents extents_of(const Op& op) {
    return {op.x.extent(0), op.x.extent(1), op.x.extent(2), op.a_log.extent(1),
            ceil_div(op.x.extent(2), kScanBlock)};
}

/// Lanes' states lie kilobytes apart, and no processor foresees that.
void prefetch(const float* from, std::int64_t count) {
    constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(float));
    for (std::int64_t i = 0; i < count; i += line) {
        __builtin_prefetch(from + i);
    }
}

/// The arguments that forward and backward share, for one block of channels of one lane.
template <class Op>
class Inputs {
  public:
    Inputs(const Op& op, const Extents& extents)
        : extents_(extents),
          x_(op.x.template as<const float, 3>()),
          dt_raw_(op.dt_raw.template as<const float, 3>()),
          z_(op.z.template as<const float, 3>()),
          b_(op.b.template as<const float, 3>()),
          c_(op.c.template as<const float, 3>()),
          a_log_(op.a_log.template as<const float, 2>()),
          d_(op.d.template as<const float, 1>()),
          dt_bias_(op.dt_bias.template as<const float, 1>()),
          segment_(op.segment.template as<const std::int32_t, 2>()),
          valid_(op.valid.template as<const std::int64_t, 1>()) {}

    std::int64_t valid(std::int64_t lane) const {
        return valid_length(valid_, lane, extents_.length);
    }

    ScanInput block(std::int64_t lane, std::int64_t channel, float* scratch) const {
        ScanInput in{};
        in.length = valid(lane);
        in.channels = std::min(kScanBlock, extents_.inner - channel);
        in.state = extents_.state;
        in.x = lane_rows(x_, lane, channel);
        in.dt_raw = lane_rows(dt_raw_, lane, channel);
        in.z = lane_rows(z_, lane, channel);
        in.b = lane_rows(b_, lane);
        in.c = lane_rows(c_, lane);
        in.x_stride = x_.stride[1];
        in.dt_raw_stride = dt_raw_.stride[1];
        in.z_stride = z_.stride[1];
        in.b_stride = b_.stride[1];
        in.c_stride = c_.stride[1];
        in.a_log = &a_log_(channel);
        in.d = &d_(channel);
        in.dt_bias = &dt_bias_(channel);
        in.segment = segment_ ? &segment_(lane) : nullptr;
        in.scratch = scratch;
        return in;
    }

  private:
    Extents extents_;
    View<const float, 3> x_, dt_raw_, z_, b_, c_;
    View<const float, 2> a_log_;
    View<const float, 1> d_, dt_bias_;
    View<const std::int32_t, 2> segment_;
    View<const std::int64_t, 1> valid_;
};

/// db and dc from the shares of the blocks, [block, B, T, 2N], blocks in order.
void sum_shares(ops::Context& context,
                const ops::SelectiveScanGrad& op,
                const Extents& extents,
                const Inputs<ops::SelectiveScanGrad>& inputs,
                const float* shares) {
    const View<float, 3> db = op.db.as<float, 3>();
    const View<float, 3> dc = op.dc.as<float, 3>();
    const std::int64_t n = extents.state;
    const std::int64_t block_stride = extents.batch * extents.length * 2 * n;
    const std::int64_t tiles = extents.gradient_tiles();
    context.pool.parallel_for(extents.batch * tiles, [&](std::int64_t task) {
        const std::int64_t lane = task / tiles;
        const std::int64_t lo = task % tiles * kGradientTile;
        const std::int64_t hi = std::min(lo + kGradientTile, extents.length);
        const std::int64_t end = std::clamp(inputs.valid(lane), lo, hi);
        for (std::int64_t t = lo; t < end; ++t) {
            const float* const row = shares + (lane * extents.length + t) * 2 * n;
            float* const to[] = {&db(lane, t), &dc(lane, t)};
            for (std::int64_t half = 0; half < 2; ++half) {
                std::copy_n(row + half * n, n, to[half]);
                for (std::int64_t block = 1; block < extents.blocks; ++block) {
                    const float* const share = row + block * block_stride + half * n;
                    for (std::int64_t i = 0; i < n; ++i) {
                        to[half][i] += share[i];
                    }
                }
            }
        }
        zero_rows(&db(lane), db.stride[1], end, hi, n);
        zero_rows(&dc(lane), dc.stride[1], end, hi, n);
    });
}

/// Adds the sums of the gradient tiles, [tile, B, block, N + 2, channel], by descending tile, then
/// ascending lane.
void add_parameter_tiles(ops::Context& context,
                         const ops::SelectiveScanGrad& op,
                         const Extents& extents,
                         const Inputs<ops::SelectiveScanGrad>& inputs,
                         const float* tiles) {
    const View<double, 2> da_log = op.da_log.as<double, 2>();
    const View<double, 1> dd = op.dd.as<double, 1>();
    const View<double, 1> ddt_bias = op.ddt_bias.as<double, 1>();
    const std::int64_t n = extents.state;
    context.pool.parallel_for(extents.blocks, [&](std::int64_t block) {
        const std::int64_t channel = block * kScanBlock;
        const std::int64_t channels = std::min(kScanBlock, extents.inner - channel);
        for (std::int64_t tile = extents.gradient_tiles() - 1; tile >= 0; --tile) {
            for (std::int64_t lane = 0; lane < extents.batch; ++lane) {
                if (tile * kGradientTile >= inputs.valid(lane)) {
                    continue;
                }
                const float* const from =
                    tiles + ((tile * extents.batch + lane) * extents.blocks + block) *
                                extents.parameter_floats();
                for (std::int64_t e = 0; e < channels; ++e) {
                    for (std::int64_t i = 0; i < n; ++i) {
                        da_log(channel + e, i) += static_cast<double>(from[i * kScanBlock + e]);
                    }
                    dd(channel + e) += static_cast<double>(from[n * kScanBlock + e]);
                    ddt_bias(channel + e) += static_cast<double>(from[(n + 1) * kScanBlock + e]);
                }
            }
        }
    });
}

}  // namespace

template <SimdLevel L>
std::int64_t selective_scan_saved_bytes(std::int64_t batch,
                                        std::int64_t length,
                                        std::int64_t inner,
                                        std::int64_t state) {
    const Extents extents{batch, length, inner, state, ceil_div(inner, kScanBlock)};
    return checked_mul(
        checked_mul(checked_mul(batch, extents.blocks), extents.saved_floats_per_task()),
        static_cast<std::int64_t>(sizeof(float)));
}

/// Each block of channels has its share of db and dc, and the sums of a gradient tile of its own
/// parameters.
std::int64_t selective_scan_backward_scratch_bytes(std::int64_t batch,
                                                   std::int64_t length,
                                                   std::int64_t inner,
                                                   std::int64_t state) {
    const Extents extents{batch, length, inner, state, ceil_div(inner, kScanBlock)};
    const std::int64_t tasks = checked_mul(batch, extents.blocks);
    const std::int64_t floats = checked_add(
        checked_mul(tasks, checked_mul(length, 2 * state)),
        checked_mul(extents.gradient_tiles(), checked_mul(tasks, extents.parameter_floats())));
    return checked_mul(floats, size_of(DType::f32));
}

template <SimdLevel L>
void selective_scan_forward(ops::Context& context, const ops::SelectiveScan& op) {
    const StepMemory::Scope scope(context.step);
    const Extents extents = extents_of(op);
    const Inputs inputs(op, extents);
    const View<const float, 3> state_in = op.state_in.as<const float, 3>();
    const View<float, 3> state_out = op.state_out.as<float, 3>();
    const View<float, 3> y = op.y.as<float, 3>();
    auto* const saved = static_cast<float*>(op.saved.data());
    const std::int64_t lanes = ceil_div(kTaskPositions, std::max<std::int64_t>(extents.length, 1));
    const std::int64_t tasks = ceil_div(extents.batch, lanes) * extents.blocks;
    TaskScratch scratch(context, tasks, extents.scratch_floats());
    context.pool.parallel_for(tasks, [&](std::int64_t task) {
        const TaskScratch::Claim claim(scratch);
        const std::int64_t block = task % extents.blocks;
        const std::int64_t channel = block * kScanBlock;
        const std::int64_t first = task / extents.blocks * lanes;
        for (std::int64_t lane = first; lane < std::min(first + lanes, extents.batch); ++lane) {
            ScanForward scan{};
            scan.in = inputs.block(lane, channel, claim.data());
            scan.state_in = state_in ? &state_in(lane, channel) : nullptr;
            scan.state_out = state_out ? &state_out(lane, channel) : nullptr;
            scan.saved = saved != nullptr ? saved + (lane * extents.blocks + block) *
                                                        extents.saved_floats_per_task()
                                          : nullptr;
            scan.y = lane_rows(y, lane, channel);
            scan.y_stride = y.stride[1];
            scan.rates_are_there = lane > first;
            if (state_in && lane + 1 < extents.batch) {
                prefetch(&state_in(lane + 1, channel), scan.in.channels * extents.state);
            }
            sequence_kernels<L>().scan_forward(scan);
            zero_rows(scan.y, scan.y_stride, scan.in.length, extents.length, scan.in.channels);
        }
    });
}

template <SimdLevel L>
void selective_scan_backward(ops::Context& context, const ops::SelectiveScanGrad& op) {
    const StepMemory::Scope scope(context.step);
    const Extents extents = extents_of(op);
    const Inputs inputs(op, extents);
    const View<const float, 3> dy = op.dy.as<const float, 3>();
    const View<const float, 3> dstate_out = op.dstate_out.as<const float, 3>();
    const View<float, 3> dx = op.dx.as<float, 3>();
    const View<float, 3> ddt_raw = op.ddt_raw.as<float, 3>();
    const View<float, 3> dz = op.dz.as<float, 3>();
    const View<float, 3> dstate_in = op.dstate_in.as<float, 3>();
    const auto* const saved = static_cast<const float*>(op.saved.data());
    const std::int64_t tasks = extents.batch * extents.blocks;
    const std::int64_t share_floats = checked_mul(extents.length, 2 * extents.state);
    float* const shares = take_floats(context, checked_mul(tasks, share_floats));
    const std::int64_t tile_stride = checked_mul(tasks, extents.parameter_floats());
    float* const tiles = take_floats(context, checked_mul(extents.gradient_tiles(), tile_stride));
    TaskScratch scratch(context, tasks, extents.scratch_floats());
    context.pool.parallel_for(tasks, [&](std::int64_t task) {
        const TaskScratch::Claim claim(scratch);
        const std::int64_t lane = task / extents.blocks;
        const std::int64_t block = task % extents.blocks;
        const std::int64_t channel = block * kScanBlock;
        ScanBackward scan{};
        scan.in = inputs.block(lane, channel, claim.data());
        scan.saved = saved + task * extents.saved_floats_per_task();
        scan.dy = lane_rows(dy, lane, channel);
        scan.dx = lane_rows(dx, lane, channel);
        scan.ddt_raw = lane_rows(ddt_raw, lane, channel);
        scan.dz = lane_rows(dz, lane, channel);
        scan.dy_stride = dy.stride[1];
        scan.dx_stride = dx.stride[1];
        scan.ddt_raw_stride = ddt_raw.stride[1];
        scan.dz_stride = dz.stride[1];
        scan.dstate_out = dstate_out ? &dstate_out(lane, channel) : nullptr;
        scan.dstate_in = dstate_in ? &dstate_in(lane, channel) : nullptr;
        scan.dbc = shares + (block * extents.batch + lane) * share_floats;
        scan.parameter_tiles = tiles + task * extents.parameter_floats();
        scan.parameter_tile_stride = tile_stride;
        sequence_kernels<L>().scan_backward(scan);
        const auto zero_rest = [&](float* rows, std::int64_t stride) {
            zero_rows(rows, stride, scan.in.length, extents.length, scan.in.channels);
        };
        zero_rest(scan.dx, scan.dx_stride);
        zero_rest(scan.ddt_raw, scan.ddt_raw_stride);
        if (scan.dz != nullptr) {
            zero_rest(scan.dz, scan.dz_stride);
        }
    });
    sum_shares(context, op, extents, inputs, shares);
    add_parameter_tiles(context, op, extents, inputs, tiles);
}

template std::int64_t selective_scan_saved_bytes<SimdLevel::scalar>(std::int64_t,
                                                                    std::int64_t,
                                                                    std::int64_t,
                                                                    std::int64_t);
template std::int64_t selective_scan_saved_bytes<SimdLevel::avx2>(std::int64_t,
                                                                  std::int64_t,
                                                                  std::int64_t,
                                                                  std::int64_t);
template std::int64_t selective_scan_saved_bytes<SimdLevel::avx512>(std::int64_t,
                                                                    std::int64_t,
                                                                    std::int64_t,
                                                                    std::int64_t);
template void selective_scan_forward<SimdLevel::scalar>(ops::Context&, const ops::SelectiveScan&);
template void selective_scan_forward<SimdLevel::avx2>(ops::Context&, const ops::SelectiveScan&);
template void selective_scan_forward<SimdLevel::avx512>(ops::Context&, const ops::SelectiveScan&);
template void selective_scan_backward<SimdLevel::scalar>(ops::Context&,
                                                         const ops::SelectiveScanGrad&);
template void selective_scan_backward<SimdLevel::avx2>(ops::Context&,
                                                       const ops::SelectiveScanGrad&);
template void selective_scan_backward<SimdLevel::avx512>(ops::Context&,
                                                         const ops::SelectiveScanGrad&);

}  // namespace mambase::cpu
