// AdamW in double precision (Loshchilov and Hutter 2019, algorithm 2).
#pragma once

#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>

namespace mambase::test::reference {

struct AdamW {
    Array param, m, v;
};

inline void adamw(AdamW& state,
                  const Array& grad,
                  double grad_scale,
                  double lr,
                  double beta1,
                  double beta2,
                  double eps,
                  double weight_decay,
                  int step) {
    for (std::size_t i = 0; i < grad.values.size(); ++i) {
        const double g = grad.values[i] * grad_scale;
        double& param = state.param.values[i];
        double& m = state.m.values[i];
        double& v = state.v.values[i];
        m = beta1 * m + (1.0 - beta1) * g;
        v = beta2 * v + (1.0 - beta2) * g * g;
        const double m_hat = m / (1.0 - std::pow(beta1, step));
        const double v_hat = v / (1.0 - std::pow(beta2, step));
        param -= lr * (m_hat / (std::sqrt(v_hat) + eps) + weight_decay * param);
    }
}

}  // namespace mambase::test::reference
