// The selective scan in double precision, written as its formulas are (spec: Mamba 1.3 step 8 and
// 1.9). What the backends are held to.
#pragma once

#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

namespace mambase::test::reference {

struct SelectiveScan {
    Array x, dt_raw;           // [B,T,E]
    Array z;                   // [B,T,E] or absent
    Array a_log;               // [E,N]
    Array b, c;                // [B,T,N]
    Array d, dt_bias;          // [E]
    Array segment;             // [B,T] or absent
    Array valid;               // [B] or absent
    Array state_in;            // [B,E,N] or absent
    Array y, state_out;        // out
    std::vector<Array> h, ah;  // out, for backward: states and a·h[t−1] of each position, [B,E,N]
};

struct SelectiveScanGrad {
    Array dy;                                  // [B,T,E]
    Array dstate_out;                          // [B,E,N] or absent
    Array dx, ddt_raw, dz, db, dc, dstate_in;  // out
    Array da_log, dd, ddt_bias;                // out
};

inline double logistic(double x) {
    return 1.0 / (1.0 + std::exp(-x));
}
inline double softplus(double x) {
    return x <= 20.0 ? std::log1p(std::exp(x)) : x;
}

inline std::int64_t valid_of(const Array& valid, std::int64_t lane, std::int64_t length) {
    return valid ? static_cast<std::int64_t>(valid(lane)) : length;
}

inline bool is_border(const Array& segment, std::int64_t lane, std::int64_t t) {
    return segment && t > 0 && segment(lane, t) != segment(lane, t - 1);
}

inline void forward(SelectiveScan& op) {
    const std::int64_t batch = op.x.extent(0);
    const std::int64_t length = op.x.extent(1);
    const std::int64_t inner = op.x.extent(2);
    const std::int64_t states = op.a_log.extent(1);
    op.y = Array(op.x.shape);
    op.state_out = op.state_in ? op.state_in : Array({batch, inner, states});
    op.h.assign(static_cast<std::size_t>(length), Array({batch, inner, states}));
    op.ah = op.h;
    for (std::int64_t l = 0; l < batch; ++l) {
        for (std::int64_t t = 0; t < valid_of(op.valid, l, length); ++t) {
            for (std::int64_t e = 0; e < inner; ++e) {
                const double delta = softplus(op.dt_raw(l, t, e) + op.dt_bias(e));
                double out = op.d(e) * op.x(l, t, e);
                for (std::int64_t n = 0; n < states; ++n) {
                    const double a = is_border(op.segment, l, t)
                                         ? 0.0
                                         : std::exp(-delta * std::exp(op.a_log(e, n)));
                    double& h = op.state_out(l, e, n);
                    const double ah = a * h;
                    h = ah + delta * op.b(l, t, n) * op.x(l, t, e);
                    out += op.c(l, t, n) * h;
                    op.ah[static_cast<std::size_t>(t)](l, e, n) = ah;
                    op.h[static_cast<std::size_t>(t)](l, e, n) = h;
                }
                const double gate = op.z ? op.z(l, t, e) * logistic(op.z(l, t, e)) : 1.0;
                op.y(l, t, e) = out * gate;
            }
        }
    }
}

/// After forward().
inline void backward(const SelectiveScan& op, SelectiveScanGrad& grad) {
    const std::int64_t batch = op.x.extent(0);
    const std::int64_t length = op.x.extent(1);
    const std::int64_t inner = op.x.extent(2);
    const std::int64_t states = op.a_log.extent(1);
    grad.dx = grad.ddt_raw = Array(op.x.shape);
    grad.dz = op.z ? Array(op.x.shape) : Array();
    grad.db = grad.dc = Array(op.b.shape);
    grad.da_log = Array(op.a_log.shape);
    grad.dd = grad.ddt_bias = Array({inner});
    // Of the state at the right of the position at hand.
    grad.dstate_in = grad.dstate_out ? grad.dstate_out : Array({batch, inner, states});
    for (std::int64_t l = 0; l < batch; ++l) {
        for (std::int64_t t = valid_of(op.valid, l, length) - 1; t >= 0; --t) {
            const Array& h = op.h[static_cast<std::size_t>(t)];
            const Array& ah = op.ah[static_cast<std::size_t>(t)];
            for (std::int64_t e = 0; e < inner; ++e) {
                const double x = op.x(l, t, e);
                const double r = op.dt_raw(l, t, e) + op.dt_bias(e);
                const double delta = softplus(r);
                double out = op.d(e) * x;
                for (std::int64_t n = 0; n < states; ++n) {
                    out += op.c(l, t, n) * h(l, e, n);
                }
                double dout = grad.dy(l, t, e);
                if (op.z) {
                    const double z = op.z(l, t, e);
                    const double s = logistic(z);
                    grad.dz(l, t, e) = dout * out * s * (1.0 + z * (1.0 - s));
                    dout *= z * s;
                }
                double ddelta = 0.0;
                grad.dx(l, t, e) = op.d(e) * dout;
                for (std::int64_t n = 0; n < states; ++n) {
                    const double rate = -std::exp(op.a_log(e, n));
                    double& carried = grad.dstate_in(l, e, n);
                    const double g = op.c(l, t, n) * dout + carried;
                    ddelta += g * (op.b(l, t, n) * x + rate * ah(l, e, n));
                    grad.dx(l, t, e) += g * delta * op.b(l, t, n);
                    grad.db(l, t, n) += g * delta * x;
                    grad.dc(l, t, n) += dout * h(l, e, n);
                    grad.da_log(e, n) += g * delta * ah(l, e, n) * rate;
                    carried = is_border(op.segment, l, t) ? 0.0 : std::exp(delta * rate) * g;
                }
                const double dr = r <= 20.0 ? ddelta * logistic(r) : ddelta;
                grad.ddt_raw(l, t, e) = dr;
                grad.ddt_bias(e) += dr;
                grad.dd(e) += dout * x;
            }
        }
    }
}

}  // namespace mambase::test::reference
