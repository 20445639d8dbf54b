// The whole model in double precision, put together from the references of its ops: forward, and
// the gradient of the weighted mean loss. What the golden results of `selftest` are made with.
#pragma once

#include "model/model.hpp"
#include "tests/support/reference/causal_conv1d.hpp"
#include "tests/support/reference/cross_entropy.hpp"
#include "tests/support/reference/embedding.hpp"
#include "tests/support/reference/linear.hpp"
#include "tests/support/reference/rms_norm.hpp"
#include "tests/support/reference/selective_scan.hpp"
#include "tests/support/tensor_tools.hpp"

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace mambase::test::reference {

/// Columns [lo, hi) of the last of three dimensions.
inline Array columns(const Array& from, std::int64_t lo, std::int64_t hi) {
    Array out({from.extent(0), from.extent(1), hi - lo});
    for (std::int64_t b = 0; b < from.extent(0); ++b) {
        for (std::int64_t t = 0; t < from.extent(1); ++t) {
            for (std::int64_t i = lo; i < hi; ++i) {
                out(b, t, i - lo) = from(b, t, i);
            }
        }
    }
    return out;
}

/// Rows of both, side by side.
inline Array joined(const Array& a, const Array& b) {
    const std::int64_t width = a.extent(2);
    Array out({a.extent(0), a.extent(1), width + b.extent(2)});
    for (std::int64_t lane = 0; lane < a.extent(0); ++lane) {
        for (std::int64_t t = 0; t < a.extent(1); ++t) {
            for (std::int64_t i = 0; i < out.extent(2); ++i) {
                out(lane, t, i) = i < width ? a(lane, t, i) : b(lane, t, i - width);
            }
        }
    }
    return out;
}

class ReferenceModel {
  public:
    explicit ReferenceModel(const model::Model& model)
        : config_(model.config()), table_(model.params()) {
        for (const model::Param& param : table_) {
            params_.push_back(to_array(param.value.view()));
            gradients_.emplace_back(param.shape);
        }
    }

    /// ids [B,T]; from states of zero.
    void forward(const Array& ids);
    /// Of scale · Σ weight·loss; returns Σ weight·loss. After forward().
    double backward(const Array& targets, const Array& weight, double scale);

    const Array& logits() const { return logits_; }
    /// In the order of model::StateLayout.
    std::vector<double> states() const;
    const std::vector<Array>& params() const { return params_; }
    const std::vector<Array>& gradients() const { return gradients_; }

  private:
    struct Layer {
        RmsNorm norm;
        Array xz, x_dbl;
        CausalConv1d conv;
        SelectiveScan scan;
    };

    const Array& param(std::size_t index) const { return params_[index]; }
    Array optional(const std::optional<std::size_t>& index) const {
        return index ? params_[*index] : Array();
    }
    Array taps(std::size_t index) const {
        Array out({config_.d_inner, config_.d_conv});
        out.values = params_[index].values;
        return out;
    }
    void add_gradient(std::size_t index, const Array& part) { add_to(gradients_[index], part); }
    void add_gradient(const std::optional<std::size_t>& index, const Array& part) {
        if (index) {
            add_to(gradients_[*index], part);
        }
    }
    Layer layer_forward(const model::LayerParams& at, const Array& added, const Array& stream);
    /// The stream's gradient at the layer's end, and then at its start.
    void layer_backward(const model::LayerParams& at, const Layer& layer, Array& dstream);

    model::ModelConfig config_;
    const model::ParamTable& table_;
    std::vector<Array> params_;
    std::vector<Array> gradients_;
    Array ids_, logits_;
    std::vector<Layer> layers_;
    RmsNorm last_;
};

inline ReferenceModel::Layer ReferenceModel::layer_forward(const model::LayerParams& at,
                                                           const Array& added,
                                                           const Array& stream) {
    const std::int64_t inner = config_.d_inner;
    const std::int64_t rank = config_.dt_rank;
    const std::int64_t state = config_.d_state;
    Layer out;
    out.norm = rms_norm(added, stream, param(at.norm), static_cast<double>(config_.norm_eps));
    out.xz = linear(out.norm.y, param(at.in_proj), optional(at.in_proj_bias));
    out.conv.x = columns(out.xz, 0, inner);
    out.conv.weight = taps(at.conv);
    out.conv.bias = optional(at.conv_bias);
    reference::forward(out.conv);
    out.x_dbl = linear(out.conv.y, param(at.x_proj), {});
    out.scan.x = out.conv.y;
    out.scan.dt_raw = linear(columns(out.x_dbl, 0, rank), param(at.dt_proj), {});
    out.scan.z = columns(out.xz, inner, 2 * inner);
    out.scan.a_log = param(at.a_log);
    out.scan.b = columns(out.x_dbl, rank, rank + state);
    out.scan.c = columns(out.x_dbl, rank + state, rank + 2 * state);
    out.scan.d = param(at.d);
    out.scan.dt_bias = param(at.dt_bias);
    reference::forward(out.scan);
    return out;
}

inline void ReferenceModel::forward(const Array& ids) {
    ids_ = ids;
    layers_.clear();
    Array stream = embedding(ids, param(table_.embedding()));
    Array added;
    for (const model::LayerParams& at : table_.layers()) {
        layers_.push_back(layer_forward(at, added, stream));
        stream = layers_.back().norm.residual_out;
        added = linear(layers_.back().scan.y, param(at.out_proj), optional(at.out_proj_bias));
    }
    last_ = rms_norm(added, stream, param(table_.norm_f()), static_cast<double>(config_.norm_eps));
    logits_ = linear(last_.y, param(table_.head()), {});
}

inline std::vector<double> ReferenceModel::states() const {
    std::vector<double> out;
    for (const Layer& layer : layers_) {
        for (const Array* const state : {&layer.conv.state_out, &layer.scan.state_out}) {
            out.insert(out.end(), state->values.begin(), state->values.end());
        }
    }
    return out;
}

inline void ReferenceModel::layer_backward(const model::LayerParams& at,
                                           const Layer& layer,
                                           Array& dstream) {
    const LinearGrad out = linear_grad(layer.scan.y, param(at.out_proj), dstream);
    add_gradient(at.out_proj, out.dweight);
    add_gradient(at.out_proj_bias, out.dbias);
    SelectiveScanGrad scan;
    scan.dy = out.dx;
    reference::backward(layer.scan, scan);
    add_gradient(at.a_log, scan.da_log);
    add_gradient(at.d, scan.dd);
    add_gradient(at.dt_bias, scan.ddt_bias);
    const LinearGrad dt =
        linear_grad(columns(layer.x_dbl, 0, config_.dt_rank), param(at.dt_proj), scan.ddt_raw);
    add_gradient(at.dt_proj, dt.dweight);
    const LinearGrad projected =
        linear_grad(layer.conv.y, param(at.x_proj), joined(joined(dt.dx, scan.db), scan.dc));
    add_gradient(at.x_proj, projected.dweight);
    CausalConv1dGrad conv;
    conv.dy = scan.dx;
    add_to(conv.dy, projected.dx);
    reference::backward(layer.conv, conv);
    add_gradient(at.conv, conv.dweight);
    add_gradient(at.conv_bias, conv.dbias);
    const LinearGrad in = linear_grad(layer.norm.y, param(at.in_proj), joined(conv.dx, scan.dz));
    add_gradient(at.in_proj, in.dweight);
    add_gradient(at.in_proj_bias, in.dbias);
    const RmsNormGrad norm = rms_norm_grad(layer.norm, param(at.norm), in.dx, dstream);
    add_gradient(at.norm, norm.dweight);
    dstream = norm.dx;
}

inline double ReferenceModel::backward(const Array& targets, const Array& weight, double scale) {
    double loss = 0.0;
    for (const double lane : cross_entropy(logits_, targets, weight, {}).loss_sum.values) {
        loss += lane;
    }
    const LinearGrad head = linear_grad(last_.y, param(table_.head()),
                                        cross_entropy_grad(logits_, targets, weight, scale));
    add_gradient(table_.head(), head.dweight);
    const RmsNormGrad last = rms_norm_grad(last_, param(table_.norm_f()), head.dx, {});
    add_gradient(table_.norm_f(), last.dweight);
    Array dstream = last.dx;
    for (std::size_t i = layers_.size(); i-- > 0;) {
        layer_backward(table_.layers()[i], layers_[i], dstream);
    }
    add_gradient(table_.embedding(),
                 embedding_grad(ids_, dstream, param(table_.embedding()).shape));
    return loss;
}

}  // namespace mambase::test::reference
