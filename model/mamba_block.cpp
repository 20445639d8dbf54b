#include "model/mamba_block.hpp"

#include "kernels/ops/causal_conv1d.hpp"
#include "kernels/ops/embedding.hpp"
#include "kernels/ops/linear.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "kernels/ops/selective_scan.hpp"

namespace mambase::model {

namespace {

/// Columns [lo, hi) of the last dimension.
template <class AnyView>
AnyView columns(AnyView view, std::int64_t lo, std::int64_t hi) {
    return view.slice(2, lo, hi);
}

/// view_of(index) of every parameter of the layer; the convolution's as [E,W].
template <class AnyView, class ViewOf>
BlockParams<AnyView> views_of(const LayerParams& at, const ModelConfig& config, ViewOf view_of) {
    const auto optional = [&](const std::optional<std::size_t>& index) {
        return index ? view_of(*index) : AnyView();
    };
    BlockParams<AnyView> out;
    out.norm = view_of(at.norm);
    out.in_proj = view_of(at.in_proj);
    out.in_proj_bias = optional(at.in_proj_bias);
    out.conv = view_of(at.conv).reshape({config.d_inner, config.d_conv});
    out.conv_bias = optional(at.conv_bias);
    out.x_proj = view_of(at.x_proj);
    out.dt_proj = view_of(at.dt_proj);
    out.dt_bias = view_of(at.dt_bias);
    out.a_log = view_of(at.a_log);
    out.d = view_of(at.d);
    out.out_proj = view_of(at.out_proj);
    out.out_proj_bias = optional(at.out_proj_bias);
    return out;
}

}  // namespace

BlockValues BlockValues::take(ops::Context& context,
                              const ModelConfig& config,
                              std::int64_t lanes,
                              std::int64_t length,
                              bool for_backward) {
    const auto rows = [&](std::int64_t width) {
        return context.step.take(context.activations, {lanes, length, width});
    };
    BlockValues out;
    out.normed = rows(config.d_model);
    out.xz = rows(2 * config.d_inner);
    out.u = rows(config.d_inner);
    out.x_dbl = rows(config.dt_rank + 2 * config.d_state);
    out.dt_raw = rows(config.d_inner);
    out.gated = rows(config.d_inner);
    if (for_backward) {
        out.rstd = context.step.take(DType::f32, {lanes, length});
        out.scan = context.step.take(
            DType::u8, {ops::selective_scan_saved_bytes(context.table, lanes, length,
                                                        config.d_inner, config.d_state)});
    }
    return out;
}

MambaBlock::MambaBlock(const Model& model, std::int64_t layer)
    : config_(model.config()),
      at_(model.params().layers()[static_cast<std::size_t>(layer)]),
      weights_(views_of<ConstTensorView>(
          at_, config_, [&](std::size_t index) { return model.params()[index].value.view(); })) {}

void MambaBlock::project_tokens(ops::Context& context,
                                ConstTensorView ids,
                                ConstTensorView table,
                                TensorView xz) const {
    const StepMemory::Scope scope(context.step);
    const std::int64_t tokens = table.extent(0);
    const auto rows = [&](std::int64_t width) {
        return context.step.take(context.activations, {1, tokens, width});
    };
    const TensorView normed = rows(config_.d_model);
    const TensorView projected = rows(2 * config_.d_inner);
    ops::rms_norm_forward(context, {.hidden = {},
                                    .residual_in = table.reshape({1, tokens, config_.d_model}),
                                    .weight = weights_.norm,
                                    .eps = config_.norm_eps,
                                    .residual_out = {},
                                    .y = normed,
                                    .rstd = {}});
    ops::linear_forward(
        context,
        {.x = normed, .weight = weights_.in_proj, .bias = weights_.in_proj_bias, .y = projected});
    ops::embedding_forward(
        context, {.ids = ids, .table = projected.reshape({tokens, 2 * config_.d_inner}), .y = xz});
}

void MambaBlock::forward(ops::Context& context,
                         ConstTensorView hidden,
                         ConstTensorView residual_in,
                         ConstTensorView ids,
                         ConstTensorView valid,
                         ConstTensorView segment,
                         bool for_training,
                         const BlockValues& values,
                         const BlockStates& states,
                         TensorView out) const {
    const std::int64_t inner = config_.d_inner;
    const std::int64_t rank = config_.dt_rank;
    const std::int64_t state = config_.d_state;
    if (residual_in) {
        ops::rms_norm_forward(context, {.hidden = hidden,
                                        .residual_in = residual_in,
                                        .ids = ids,
                                        .weight = weights_.norm,
                                        .eps = config_.norm_eps,
                                        .residual_out = values.residual,
                                        .y = values.normed,
                                        .rstd = values.rstd});
        ops::linear_forward(context, {.x = values.normed,
                                      .weight = weights_.in_proj,
                                      .bias = weights_.in_proj_bias,
                                      .y = values.xz});
    }
    ops::causal_conv1d_forward(context, {.x = columns(values.xz, 0, inner),
                                         .weight = weights_.conv,
                                         .bias = weights_.conv_bias,
                                         .segment = segment,
                                         .valid = valid,
                                         .state_in = states.conv_in,
                                         .y = values.u,
                                         .state_out = states.conv_out});
    ops::linear_forward(context,
                        {.x = values.u, .weight = weights_.x_proj, .bias = {}, .y = values.x_dbl});
    ops::linear_forward(context, {.x = columns(values.x_dbl, 0, rank),
                                  .weight = weights_.dt_proj,
                                  .bias = {},
                                  .y = values.dt_raw});
    ops::selective_scan_forward(context,
                                {.x = values.u,
                                 .dt_raw = values.dt_raw,
                                 .z = columns(values.xz, inner, 2 * inner),
                                 .a_log = weights_.a_log,
                                 .b = columns(values.x_dbl, rank, rank + state),
                                 .c = columns(values.x_dbl, rank + state, rank + 2 * state),
                                 .d = weights_.d,
                                 .dt_bias = weights_.dt_bias,
                                 .segment = segment,
                                 .valid = valid,
                                 .state_in = states.ssm_in,
                                 .y = values.gated,
                                 .state_out = states.ssm_out,
                                 .saved = values.scan,
                                 .starts = values.starts,
                                 .has_starts = values.has_starts,
                                 .for_training = for_training});
    ops::linear_forward(
        context,
        {.x = values.gated, .weight = weights_.out_proj, .bias = weights_.out_proj_bias, .y = out});
}

void MambaBlock::backward(ops::Context& context,
                          const BlockValues& values,
                          ConstTensorView conv_in,
                          ConstTensorView ssm_in,
                          TensorView dstream,
                          TensorView dadded,
                          const BlockStateGradients& dstates,
                          Gradients& gradients) const {
    const StepMemory::Scope scope(context.step);
    const std::int64_t inner = config_.d_inner;
    const std::int64_t rank = config_.dt_rank;
    const std::int64_t state = config_.d_state;
    const auto like = [&](const TensorView& view) {
        return context.step.take(view.dtype(), view.shape());
    };
    const auto sums =
        views_of<TensorView>(at_, config_, [&](std::size_t index) { return gradients.of(index); });
    const TensorView dgated = like(values.gated);
    const TensorView dxz = like(values.xz);
    const TensorView du = like(values.u);
    const TensorView ddt_raw = like(values.dt_raw);
    const TensorView dx_dbl = like(values.x_dbl);
    ops::linear_backward(context, {.x = values.gated,
                                   .weight = weights_.out_proj,
                                   .dy = dadded,
                                   .dx = dgated,
                                   .dweight = sums.out_proj,
                                   .dbias = sums.out_proj_bias});
    ops::selective_scan_backward(context,
                                 {.x = values.u,
                                  .dt_raw = values.dt_raw,
                                  .z = columns(values.xz, inner, 2 * inner),
                                  .a_log = weights_.a_log,
                                  .b = columns(values.x_dbl, rank, rank + state),
                                  .c = columns(values.x_dbl, rank + state, rank + 2 * state),
                                  .d = weights_.d,
                                  .dt_bias = weights_.dt_bias,
                                  .segment = {},
                                  .valid = {},
                                  .state_in = ssm_in,
                                  .saved = values.scan,
                                  .dy = dgated,
                                  .dstate_out = dstates.ssm_out,
                                  .dx = du,
                                  .ddt_raw = ddt_raw,
                                  .dz = columns(dxz, inner, 2 * inner),
                                  .da_log = sums.a_log,
                                  .db = columns(dx_dbl, rank, rank + state),
                                  .dc = columns(dx_dbl, rank + state, rank + 2 * state),
                                  .dd = sums.d,
                                  .ddt_bias = sums.dt_bias,
                                  .dstate_in = dstates.ssm_in,
                                  .for_training = true});
    ops::linear_backward(context, {.x = columns(values.x_dbl, 0, rank),
                                   .weight = weights_.dt_proj,
                                   .dy = ddt_raw,
                                   .dx = columns(dx_dbl, 0, rank),
                                   .dweight = sums.dt_proj,
                                   .dbias = {}});
    ops::linear_backward(context, {.x = values.u,
                                   .weight = weights_.x_proj,
                                   .dy = dx_dbl,
                                   .dx = du,
                                   .add_to_dx = true,
                                   .dweight = sums.x_proj,
                                   .dbias = {}});
    ops::causal_conv1d_backward(context, {.x = columns(values.xz, 0, inner),
                                          .weight = weights_.conv,
                                          .bias = weights_.conv_bias,
                                          .segment = {},
                                          .valid = {},
                                          .state_in = conv_in,
                                          .dy = du,
                                          .dstate_out = dstates.conv_out,
                                          .dx = columns(dxz, 0, inner),
                                          .dweight = sums.conv,
                                          .dbias = sums.conv_bias,
                                          .dstate_in = dstates.conv_in});
    const TensorView dnormed = like(values.normed);
    ops::linear_backward(context, {.x = values.normed,
                                   .weight = weights_.in_proj,
                                   .dy = dxz,
                                   .dx = dnormed,
                                   .dweight = sums.in_proj,
                                   .dbias = sums.in_proj_bias});
    ops::rms_norm_backward(context,
                           {.residual_out = values.residual,
                            .weight = weights_.norm,
                            .rstd = values.rstd,
                            .dy = dnormed,
                            .dresidual_out = dstream,
                            .dx = dstream,
                            .dx_bf16 = dadded.dtype() == DType::bf16 ? dadded : TensorView(),
                            .dweight = sums.norm});
}

}  // namespace mambase::model
