// The whole model, base by base, in double precision: spec Mamba 1.3, 1.4 and 1.7 as they stand.
#pragma once

#include "model/model.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mambase::test {

class Recurrence {
  public:
    explicit Recurrence(const model::Model& model) : model_(model), config_(model.config()) {
        const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
        tail_.assign(size(config_.n_layer),
                     std::vector<double>(size((config_.d_conv - 1) * config_.d_inner), 0.0));
        state_.assign(size(config_.n_layer),
                      std::vector<double>(size(config_.d_inner * config_.d_state), 0.0));
    }

    /// Reads one id; returns the logits of the next.
    std::vector<double> step(std::uint8_t id) {
        std::vector<double> stream = rows(model_.params().embedding(), id);
        for (std::size_t layer = 0; layer < state_.size(); ++layer) {
            const auto& at = model_.params().layers()[layer];
            const std::vector<double> added = mix(layer, norm(stream, at.norm));
            for (std::size_t i = 0; i < stream.size(); ++i) {
                stream[i] += added[i];
            }
        }
        return product(model_.params().head(), norm(stream, model_.params().norm_f()), {});
    }

  private:
    using Vector = std::vector<double>;

    double value(std::size_t param, std::size_t at) const {
        return static_cast<double>(
            static_cast<const float*>(model_.params()[param].value.view().data())[at]);
    }

    Vector rows(std::size_t param, std::size_t row) const {
        Vector out(static_cast<std::size_t>(config_.d_model));
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = value(param, row * out.size() + i);
        }
        return out;
    }

    Vector norm(const Vector& x, std::size_t weight) const {
        double squares = 0.0;
        for (const double each : x) {
            squares += each * each;
        }
        const double rstd = 1.0 / std::sqrt(squares / static_cast<double>(x.size()) +
                                            static_cast<double>(config_.norm_eps));
        Vector out(x.size());
        for (std::size_t i = 0; i < x.size(); ++i) {
            out[i] = x[i] * rstd * value(weight, i);
        }
        return out;
    }

    Vector product(std::size_t weight, const Vector& x, std::optional<std::size_t> bias) const {
        Vector out(static_cast<std::size_t>(model_.params()[weight].shape[0]));
        for (std::size_t row = 0; row < out.size(); ++row) {
            out[row] = bias ? value(*bias, row) : 0.0;
            for (std::size_t i = 0; i < x.size(); ++i) {
                out[row] += value(weight, row * x.size() + i) * x[i];
            }
        }
        return out;
    }

    static double silu(double x) { return x / (1.0 + std::exp(-x)); }

    Vector convolve(std::size_t layer, const Vector& xz) {
        const auto& at = model_.params().layers()[layer];
        const auto inner = static_cast<std::size_t>(config_.d_inner);
        const auto taps = static_cast<std::size_t>(config_.d_conv);
        Vector& tail = tail_[layer];
        Vector out(inner);
        for (std::size_t e = 0; e < inner; ++e) {
            double sum = at.conv_bias ? value(*at.conv_bias, e) : 0.0;
            for (std::size_t w = 0; w < taps; ++w) {
                const double x = w + 1 < taps ? tail[w * inner + e] : xz[e];
                sum += value(at.conv, e * taps + w) * x;
            }
            out[e] = silu(sum);
        }
        tail.erase(tail.begin(), tail.begin() + static_cast<std::ptrdiff_t>(inner));
        tail.insert(tail.end(), xz.begin(), xz.begin() + static_cast<std::ptrdiff_t>(inner));
        return out;
    }

    Vector mix(std::size_t layer, const Vector& y) {
        const auto& at = model_.params().layers()[layer];
        const auto inner = static_cast<std::size_t>(config_.d_inner);
        const auto states = static_cast<std::size_t>(config_.d_state);
        const auto rank = static_cast<std::size_t>(config_.dt_rank);
        const Vector xz = product(at.in_proj, y, at.in_proj_bias);
        const Vector u = convolve(layer, xz);
        const Vector x_dbl = product(at.x_proj, u, {});
        const Vector low_rank(x_dbl.begin(), x_dbl.begin() + static_cast<std::ptrdiff_t>(rank));
        const Vector dt_raw = product(at.dt_proj, low_rank, {});
        Vector gated(inner);
        for (std::size_t e = 0; e < inner; ++e) {
            const double raw = dt_raw[e] + value(at.dt_bias, e);
            const double delta = raw <= 20.0 ? std::log1p(std::exp(raw)) : raw;
            double out = value(at.d, e) * u[e];
            for (std::size_t n = 0; n < states; ++n) {
                double& h = state_[layer][e * states + n];
                const double a = -std::exp(value(at.a_log, e * states + n));
                h = std::exp(delta * a) * h + delta * x_dbl[rank + n] * u[e];
                out += x_dbl[rank + states + n] * h;
            }
            gated[e] = out * silu(xz[inner + e]);
        }
        return product(at.out_proj, gated, at.out_proj_bias);
    }

    const model::Model& model_;
    const model::ModelConfig& config_;
    std::vector<Vector> tail_;   // of each layer: W − 1 rows of E
    std::vector<Vector> state_;  // of each layer: E rows of N
};

}  // namespace mambase::test
