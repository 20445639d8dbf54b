#include "model/init.hpp"

#include "base/rng.hpp"

#include <algorithm>
#include <cmath>

namespace mambase::model {

namespace {

constexpr double kEmbeddingDeviation = 0.02;

/// Inverse softplus of a step drawn log-uniformly.
double draw_dt_bias(const ModelConfig& config, double uniform) {
    const double low = std::log(config.dt_min);
    const double high = std::log(config.dt_max);
    const double dt = std::max(std::exp(low + uniform * (high - low)), config.dt_init_floor);
    return dt + std::log(-std::expm1(-dt));
}

/// Half the width of the uniform distribution of a weight.
double bound_of(const Param& param, const ModelConfig& config) {
    const double fan_in =
        static_cast<double>(param.shape.count()) / static_cast<double>(param.shape[0]);
    switch (param.init) {
        case Init::conv_bias:
            return 1.0 / std::sqrt(static_cast<double>(config.d_conv));
        case Init::out_proj:
            return 1.0 / std::sqrt(fan_in * static_cast<double>(config.n_layer));
        case Init::dt_weight:
            return config.dt_scale / std::sqrt(static_cast<double>(config.dt_rank));
        default:
            return 1.0 / std::sqrt(fan_in);
    }
}

}  // namespace

void initialise(Param& param, std::size_t index, const ModelConfig& config, std::uint64_t seed) {
    const CounterRng rng(seed, index);
    const double bound = bound_of(param, config);
    const auto value_of = [&](std::uint64_t i) {
        switch (param.init) {
            case Init::zeros:
                return 0.0;
            case Init::ones:
                return 1.0;
            case Init::embedding:
                return kEmbeddingDeviation * rng.normal(i);
            case Init::dt_bias:
                return draw_dt_bias(config, rng.uniform(i));
            case Init::a_log:
                return std::log(
                    static_cast<double>(i % static_cast<std::uint64_t>(config.d_state) + 1));
            case Init::dt_weight:
                if (config.dt_init_constant) {
                    return bound;
                }
                [[fallthrough]];
            default:
                return bound * (2.0 * rng.uniform(i) - 1.0);
        }
    };
    auto* const values = static_cast<float*>(param.value.view().data());
    const auto count = static_cast<std::uint64_t>(param.shape.count());
    for (std::uint64_t i = 0; i < count; ++i) {
        values[i] = static_cast<float>(value_of(i));
    }
}

}  // namespace mambase::model
