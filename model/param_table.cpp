#include "model/param_table.hpp"

#include "base/checked_math.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <utility>

namespace mambase::model {

namespace {

constexpr bool kDecay = true;
constexpr bool kNoDecay = false;

}  // namespace

std::size_t ParamTable::add(std::string name, const Shape& shape, Init init, bool decay) {
    params_.push_back({std::move(name), shape, init, decay, {}, false});
    return params_.size() - 1;
}

ParamTable::ParamTable(const ModelConfig& config) {
    const std::int64_t d = config.d_model;
    const std::int64_t e = config.d_inner;
    const std::int64_t n = config.d_state;
    const std::int64_t r = config.dt_rank;
    const std::int64_t w = config.d_conv;
    embedding_ = add("backbone.embeddings.weight", {config.vocab_size, d}, Init::embedding, kDecay);
    for (std::int64_t i = 0; i < config.n_layer; ++i) {
        const std::string layer = concat("backbone.layers.", i, ".");
        const std::string mixer = layer + "mixer.";
        LayerParams at;
        at.norm = add(layer + "norm.weight", {d}, Init::ones, kNoDecay);
        at.in_proj = add(mixer + "in_proj.weight", {2 * e, d}, Init::fan_in, kDecay);
        if (config.use_bias) {
            at.in_proj_bias = add(mixer + "in_proj.bias", {2 * e}, Init::zeros, kNoDecay);
        }
        at.conv = add(mixer + "conv1d.weight", {e, 1, w}, Init::fan_in, kDecay);
        if (config.use_conv_bias) {
            at.conv_bias = add(mixer + "conv1d.bias", {e}, Init::conv_bias, kNoDecay);
        }
        at.x_proj = add(mixer + "x_proj.weight", {r + 2 * n, e}, Init::fan_in, kDecay);
        at.dt_proj = add(mixer + "dt_proj.weight", {e, r}, Init::dt_weight, kDecay);
        at.dt_bias = add(mixer + "dt_proj.bias", {e}, Init::dt_bias, kNoDecay);
        at.a_log = add(mixer + "A_log", {e, n}, Init::a_log, kNoDecay);
        at.d = add(mixer + "D", {e}, Init::ones, kNoDecay);
        at.out_proj = add(mixer + "out_proj.weight", {d, e}, Init::out_proj, kDecay);
        if (config.use_bias) {
            at.out_proj_bias = add(mixer + "out_proj.bias", {d}, Init::zeros, kNoDecay);
        }
        layers_.push_back(at);
    }
    norm_f_ = add("backbone.norm_f.weight", {d}, Init::ones, kNoDecay);
    head_ = config.tie_embeddings
                ? embedding_
                : add("lm_head.weight", {config.vocab_size, d}, Init::fan_in, kDecay);
    if (config.n_classes > 0) {
        add(std::string(kClassWeightName), {config.n_classes, d}, Init::zeros, kDecay);
        add("classify_head.bias", {config.n_classes}, Init::zeros, kNoDecay);
    }
}

void ParamTable::allocate(Allocator& allocator) {
    for (Param& param : params_) {
        param.value = Tensor(allocator, DType::f32, param.shape, param.name);
    }
}

const Param* ParamTable::find(std::string_view name) const noexcept {
    const auto found = std::find_if(params_.begin(), params_.end(),
                                    [&](const Param& param) { return param.name == name; });
    return found == params_.end() ? nullptr : &*found;
}

Param* ParamTable::find(std::string_view name) noexcept {
    return const_cast<Param*>(std::as_const(*this).find(name));
}

std::int64_t ParamTable::count() const {
    std::int64_t total = 0;
    for (const Param& param : params_) {
        total = checked_add(total, param.shape.count());
    }
    return total;
}

}  // namespace mambase::model
