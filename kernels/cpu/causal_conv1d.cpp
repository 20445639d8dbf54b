#include "kernels/ops/causal_conv1d.hpp"

#include "base/checked_math.hpp"
#include "kernels/cpu/cpu_ops.hpp"
#include "kernels/cpu/gradient_tile.hpp"
#include "kernels/cpu/sequence_tasks.hpp"
#include "kernels/cpu/simd/sequence_kernels.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::cpu {

namespace {

/// The arguments that forward and backward share. Tasks are a gradient tile of rows of one lane.
template <class Op>
class Inputs {
  public:
    Inputs(ops::Context& context, const Op& op)
        : batch(op.x.extent(0)),
          length(op.x.extent(1)),
          channels(op.x.extent(2)),
          taps(op.weight.extent(1)),
          padded(round_up(channels, kChannelPadding)),
          tiles(ceil_div(length, kGradientTile)),
          x_(op.x.template as<const float, 3>()),
          state_(op.state_in.template as<const float, 3>()),
          segment_(op.segment.template as<const std::int32_t, 2>()),
          valid_(op.valid.template as<const std::int64_t, 1>()) {
        float* const weight = take_floats(context, checked_mul(taps + 2, padded));
        std::fill_n(weight, (taps + 2) * padded, 0.0F);
        const View<const float, 2> from = op.weight.template as<const float, 2>();
        const View<const float, 1> bias = op.bias.template as<const float, 1>();
        for (std::int64_t e = 0; e < channels; ++e) {
            for (std::int64_t w = 0; w < taps; ++w) {
                weight[w * padded + e] = from(e, w);
            }
            weight[taps * padded + e] = bias ? bias(e) : 0.0F;
        }
        weight_ = weight;
        zeros_ = weight + (taps + 1) * padded;
    }

    std::int64_t valid(std::int64_t lane) const { return valid_length(valid_, lane, length); }

    ConvInput lane(std::int64_t lane) const {
        ConvInput in{};
        in.channels = channels;
        in.taps = taps;
        in.x = lane_rows(x_, lane);
        in.x_stride = x_.stride[1];
        in.state = lane_rows(state_, lane);
        in.segment = segment_ ? &segment_(lane) : nullptr;
        in.weight = weight_;
        in.padded = padded;
        in.zeros = zeros_;
        return in;
    }

    std::int64_t batch, length, channels, taps, padded, tiles;

  private:
    View<const float, 3> x_, state_;
    View<const std::int32_t, 2> segment_;
    View<const std::int64_t, 1> valid_;
    const float* weight_ = nullptr;  // [W + 1, padded]
    const float* zeros_ = nullptr;   // [padded]
};

/// First row that the last position still sees: after the last border among the valid rows, or far
/// left where there is none.
std::int64_t first_seen(const ConvInput& in, std::int64_t valid) {
    const std::int64_t reach = std::max<std::int64_t>(valid - in.taps + 1, 1);
    for (std::int64_t t = valid - 1; in.segment != nullptr && t >= reach; --t) {
        if (in.segment[t] != in.segment[t - 1]) {
            return t;
        }
    }
    return -in.taps;
}

/// The last W − 1 inputs. Runs after the rows are done and moves entries towards the front only,
/// so that state_out may be state_in.
void write_state(const ConvInput& in, std::int64_t valid, float* state_out) {
    const std::int64_t kept = in.taps - 1;
    const std::int64_t seen = first_seen(in, valid);
    for (std::int64_t i = 0; i < kept; ++i) {
        const std::int64_t t = valid - kept + i;
        float* const to = state_out + i * in.channels;
        const float* from = in.zeros;
        if (t >= seen && t >= 0) {
            from = in.x + t * in.x_stride;
        } else if (t >= seen && in.state != nullptr) {
            from = in.state + (t + kept) * in.channels;
        }
        if (from != to) {
            std::copy_n(from, in.channels, to);
        }
    }
}

/// Adds the sums of the gradient tiles, [tile, B, W + 1, padded], by descending tile, then
/// ascending lane.
void add_parameter_tiles(ops::Context& context,
                         const ops::CausalConv1dGrad& op,
                         const Inputs<ops::CausalConv1dGrad>& inputs,
                         const float* tiles) {
    const View<double, 2> dweight = op.dweight.as<double, 2>();
    const View<double, 1> dbias = op.dbias.as<double, 1>();
    const std::int64_t taps = inputs.taps;
    const std::int64_t padded = inputs.padded;
    context.pool.parallel_for(padded / kChannelPadding, [&](std::int64_t task) {
        const std::int64_t lo = task * kChannelPadding;
        const std::int64_t hi = std::min(lo + kChannelPadding, inputs.channels);
        for (std::int64_t tile = inputs.tiles - 1; tile >= 0; --tile) {
            for (std::int64_t lane = 0; lane < inputs.batch; ++lane) {
                if (tile * kGradientTile >= inputs.valid(lane)) {
                    continue;
                }
                const float* const from =
                    tiles + (tile * inputs.batch + lane) * (taps + 1) * padded;
                for (std::int64_t e = lo; e < hi; ++e) {
                    for (std::int64_t w = 0; w < taps; ++w) {
                        dweight(e, w) += static_cast<double>(from[w * padded + e]);
                    }
                    if (dbias) {
                        dbias(e) += static_cast<double>(from[taps * padded + e]);
                    }
                }
            }
        }
    });
}

/// Rows of a [.., channels] array to rows of another stride.
void copy_rows(const float* from,
               std::int64_t from_stride,
               float* to,
               std::int64_t to_stride,
               std::int64_t rows,
               std::int64_t channels) {
    for (std::int64_t i = 0; i < rows; ++i) {
        std::copy_n(from + i * from_stride, channels, to + i * to_stride);
    }
}

/// pending[k] is the gradient of the state's entry W − 2 − k, the newest first.
void reverse_rows(float* rows, std::int64_t count, std::int64_t stride) {
    for (std::int64_t i = 0; i < count / 2; ++i) {
        std::swap_ranges(rows + i * stride, rows + (i + 1) * stride,
                         rows + (count - 1 - i) * stride);
    }
}

}  // namespace

template <SimdLevel L>
void causal_conv1d_forward(ops::Context& context, const ops::CausalConv1d& op) {
    const StepMemory::Scope scope(context.step);
    const Inputs inputs(context, op);
    const View<float, 3> y = op.y.as<float, 3>();
    const View<float, 3> state_out = op.state_out.as<float, 3>();
    context.pool.parallel_for(inputs.batch * inputs.tiles, [&](std::int64_t task) {
        const std::int64_t lane = task / inputs.tiles;
        const std::int64_t lo = task % inputs.tiles * kGradientTile;
        const std::int64_t hi = std::min(lo + kGradientTile, inputs.length);
        ConvForward conv{};
        conv.in = inputs.lane(lane);
        conv.lo = lo;
        conv.hi = std::clamp(inputs.valid(lane), lo, hi);
        conv.y = lane_rows(y, lane);
        conv.y_stride = y.stride[1];
        sequence_kernels<L>().conv_forward(conv);
        zero_rows(conv.y, conv.y_stride, conv.hi, hi, inputs.channels);
    });
    for (std::int64_t lane = 0; state_out && lane < inputs.batch; ++lane) {
        write_state(inputs.lane(lane), inputs.valid(lane), &state_out(lane));
    }
}

template <SimdLevel L>
void causal_conv1d_backward(ops::Context& context, const ops::CausalConv1dGrad& op) {
    const StepMemory::Scope scope(context.step);
    const Inputs inputs(context, op);
    const View<const float, 3> dy = op.dy.as<const float, 3>();
    const View<const float, 3> dstate_out = op.dstate_out.as<const float, 3>();
    const View<float, 3> dx = op.dx.as<float, 3>();
    const View<float, 3> dstate_in = op.dstate_in.as<float, 3>();
    const std::int64_t kept = inputs.taps - 1;
    const std::int64_t tasks = checked_mul(inputs.batch, std::max<std::int64_t>(inputs.tiles, 1));
    const std::int64_t pending_floats = kept * inputs.padded;
    const std::int64_t parameter_floats = (inputs.taps + 1) * inputs.padded;
    float* const pending = take_floats(context, checked_mul(tasks, pending_floats));
    float* const parameters = take_floats(context, checked_mul(tasks, parameter_floats));
    context.pool.parallel_for(tasks, [&](std::int64_t task) {
        const std::int64_t tile = task / inputs.batch;
        const std::int64_t lane = task % inputs.batch;
        const std::int64_t valid = inputs.valid(lane);
        const std::int64_t tile_end = std::min((tile + 1) * kGradientTile, inputs.length);
        ConvBackward conv{};
        conv.in = inputs.lane(lane);
        conv.lo = std::min(tile * kGradientTile, valid);
        conv.hi = std::min(tile_end, valid);
        conv.end = std::min(conv.hi + kept, valid);
        conv.dy = lane_rows(dy, lane);
        conv.dy_stride = dy.stride[1];
        conv.dx = lane_rows(dx, lane);
        conv.dx_stride = dx.stride[1];
        conv.pending = pending + task * pending_floats;
        conv.parameters = parameters + task * parameter_floats;
        std::fill_n(conv.pending, pending_floats, 0.0F);
        if (dstate_out && conv.end == valid) {
            copy_rows(&dstate_out(lane), inputs.channels, conv.pending, inputs.padded, kept,
                      inputs.channels);
            reverse_rows(conv.pending, kept, inputs.padded);
        }
        sequence_kernels<L>().conv_backward(conv);
        zero_rows(conv.dx, conv.dx_stride, std::max(tile * kGradientTile, valid), tile_end,
                  inputs.channels);
    });
    // Only now, as dstate_in may be dstate_out, which the task of the last rows reads.
    for (std::int64_t lane = 0; dstate_in && lane < inputs.batch; ++lane) {
        float* const rows = pending + lane * pending_floats;  // of the task of tile 0
        reverse_rows(rows, kept, inputs.padded);
        copy_rows(rows, inputs.padded, &dstate_in(lane), inputs.channels, kept, inputs.channels);
    }
    add_parameter_tiles(context, op, inputs, parameters);
}

template void causal_conv1d_forward<SimdLevel::scalar>(ops::Context&, const ops::CausalConv1d&);
template void causal_conv1d_forward<SimdLevel::avx2>(ops::Context&, const ops::CausalConv1d&);
template void causal_conv1d_forward<SimdLevel::avx512>(ops::Context&, const ops::CausalConv1d&);
template void causal_conv1d_backward<SimdLevel::scalar>(ops::Context&,
                                                        const ops::CausalConv1dGrad&);
template void causal_conv1d_backward<SimdLevel::avx2>(ops::Context&, const ops::CausalConv1dGrad&);
template void causal_conv1d_backward<SimdLevel::avx512>(ops::Context&,
                                                        const ops::CausalConv1dGrad&);

}  // namespace mambase::cpu
