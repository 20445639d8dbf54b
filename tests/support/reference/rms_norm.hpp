// Residual addition and RMS norm in double precision (spec: Mamba 1.4).
#pragma once

#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>

namespace mambase::test::reference {

struct RmsNorm {
    Array residual_out, y, rstd;
};

inline RmsNorm rms_norm(const Array& hidden,
                        const Array& residual_in,
                        const Array& weight,
                        double eps) {
    RmsNorm out{residual_in, Array(residual_in.shape),
                Array({residual_in.extent(0), residual_in.extent(1)})};
    if (hidden) {
        add_to(out.residual_out, hidden);
    }
    const std::int64_t width = weight.extent(0);
    for (std::int64_t b = 0; b < residual_in.extent(0); ++b) {
        for (std::int64_t t = 0; t < residual_in.extent(1); ++t) {
            double squares = 0.0;
            for (std::int64_t d = 0; d < width; ++d) {
                squares += out.residual_out(b, t, d) * out.residual_out(b, t, d);
            }
            out.rstd(b, t) = 1.0 / std::sqrt(squares / static_cast<double>(width) + eps);
            for (std::int64_t d = 0; d < width; ++d) {
                out.y(b, t, d) = out.residual_out(b, t, d) * out.rstd(b, t) * weight(d);
            }
        }
    }
    return out;
}

struct RmsNormGrad {
    Array dx, dweight;
};

inline RmsNormGrad rms_norm_grad(const RmsNorm& forward,
                                 const Array& weight,
                                 const Array& dy,
                                 const Array& dresidual_out) {
    const std::int64_t width = weight.extent(0);
    RmsNormGrad grad{dresidual_out ? dresidual_out : Array(dy.shape), Array(weight.shape)};
    for (std::int64_t b = 0; b < dy.extent(0); ++b) {
        for (std::int64_t t = 0; t < dy.extent(1); ++t) {
            const double rstd = forward.rstd(b, t);
            double mean = 0.0;
            for (std::int64_t d = 0; d < width; ++d) {
                const double normed = forward.residual_out(b, t, d) * rstd;
                mean += normed * weight(d) * dy(b, t, d) / static_cast<double>(width);
                grad.dweight(d) += dy(b, t, d) * normed;
            }
            for (std::int64_t d = 0; d < width; ++d) {
                const double normed = forward.residual_out(b, t, d) * rstd;
                grad.dx(b, t, d) += (weight(d) * dy(b, t, d) - normed * mean) * rstd;
            }
        }
    }
    return grad;
}

}  // namespace mambase::test::reference
