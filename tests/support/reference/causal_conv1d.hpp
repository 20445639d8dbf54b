// The causal convolution with SiLU in double precision, written as its formulas are (spec: Mamba
// 1.3 step 3 and 1.9). What the backends are held to.
#pragma once

#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>

namespace mambase::test::reference {

struct CausalConv1d {
    Array x;             // [B,T,E]
    Array weight;        // [E,W]
    Array bias;          // [E] or absent
    Array segment;       // [B,T] or absent
    Array valid;         // [B] or absent
    Array state_in;      // [B,W−1,E] or absent
    Array y, state_out;  // out
};

struct CausalConv1dGrad {
    Array dy;                             // [B,T,E]
    Array dstate_out;                     // [B,W−1,E] or absent
    Array dx, dweight, dbias, dstate_in;  // out
};

/// Whether the position t sees row `from` <= t; rows before 0 are those of the state.
inline bool conv_sees(const Array& segment, std::int64_t lane, std::int64_t from, std::int64_t t) {
    for (std::int64_t i = t; i > from && i > 0 && segment; --i) {
        if (segment(lane, i) != segment(lane, i - 1)) {
            return false;
        }
    }
    return true;
}

/// The element of row t of x, or of the state for t < 0; null where there is no state.
template <class ArrayRef>
auto* conv_row(ArrayRef& x, ArrayRef& state, std::int64_t lane, std::int64_t t, std::int64_t e) {
    if (t >= 0) {
        return &x.values[static_cast<std::size_t>((lane * x.extent(1) + t) * x.extent(2) + e)];
    }
    if (!state) {
        return static_cast<decltype(x.values.data())>(nullptr);
    }
    const std::int64_t row = lane * state.extent(1) + state.extent(1) + t;
    return &state.values[static_cast<std::size_t>(row * state.extent(2) + e)];
}

inline double conv_sum(const CausalConv1d& op, std::int64_t l, std::int64_t t, std::int64_t e) {
    const std::int64_t taps = op.weight.extent(1);
    double sum = op.bias ? op.bias(e) : 0.0;
    for (std::int64_t w = 0; w < taps; ++w) {
        const std::int64_t from = t - (taps - 1) + w;
        const double* const x = conv_row(op.x, op.state_in, l, from, e);
        if (x != nullptr && conv_sees(op.segment, l, from, t)) {
            sum += op.weight(e, w) * *x;
        }
    }
    return sum;
}

/// Rows that count of a lane.
inline std::int64_t conv_valid(const CausalConv1d& op, std::int64_t lane) {
    return op.valid ? static_cast<std::int64_t>(op.valid(lane)) : op.x.extent(1);
}

inline void forward(CausalConv1d& op) {
    const std::int64_t kept = op.weight.extent(1) - 1;
    op.y = Array(op.x.shape);
    op.state_out = Array({op.x.extent(0), kept, op.x.extent(2)});
    for (std::int64_t l = 0; l < op.x.extent(0); ++l) {
        const std::int64_t valid = conv_valid(op, l);
        for (std::int64_t e = 0; e < op.x.extent(2); ++e) {
            for (std::int64_t t = 0; t < valid; ++t) {
                const double sum = conv_sum(op, l, t, e);
                op.y(l, t, e) = sum / (1.0 + std::exp(-sum));
            }
            for (std::int64_t i = 0; i < kept; ++i) {
                const std::int64_t from = valid - kept + i;
                const double* const x = conv_row(op.x, op.state_in, l, from, e);
                const bool seen = valid == 0 || conv_sees(op.segment, l, from, valid - 1);
                op.state_out(l, i, e) = x != nullptr && seen ? *x : 0.0;
            }
        }
    }
}

inline void backward(const CausalConv1d& op, CausalConv1dGrad& grad) {
    const std::int64_t taps = op.weight.extent(1);
    const std::int64_t kept = taps - 1;
    grad.dx = Array(op.x.shape);
    grad.dweight = Array(op.weight.shape);
    grad.dbias = op.bias ? Array(op.bias.shape) : Array();
    grad.dstate_in = Array({op.x.extent(0), kept, op.x.extent(2)});
    for (std::int64_t l = 0; l < op.x.extent(0); ++l) {
        const std::int64_t valid = conv_valid(op, l);
        for (std::int64_t e = 0; e < op.x.extent(2); ++e) {
            for (std::int64_t i = 0; i < kept && grad.dstate_out; ++i) {
                const std::int64_t from = valid - kept + i;
                if (valid == 0 || conv_sees(op.segment, l, from, valid - 1)) {
                    *conv_row(grad.dx, grad.dstate_in, l, from, e) += grad.dstate_out(l, i, e);
                }
            }
            for (std::int64_t t = 0; t < valid; ++t) {
                const double sum = conv_sum(op, l, t, e);
                const double s = 1.0 / (1.0 + std::exp(-sum));
                const double dsum = grad.dy(l, t, e) * s * (1.0 + sum * (1.0 - s));
                if (op.bias) {
                    grad.dbias(e) += dsum;
                }
                for (std::int64_t w = 0; w < taps; ++w) {
                    const std::int64_t from = t - kept + w;
                    if (!conv_sees(op.segment, l, from, t)) {
                        continue;
                    }
                    *conv_row(grad.dx, grad.dstate_in, l, from, e) += dsum * op.weight(e, w);
                    const double* const x = conv_row(op.x, op.state_in, l, from, e);
                    grad.dweight(e, w) += x != nullptr ? dsum * *x : 0.0;
                }
            }
        }
    }
}

}  // namespace mambase::test::reference
