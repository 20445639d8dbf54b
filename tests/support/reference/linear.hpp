// y = x·weightᵀ + bias in double precision.
#pragma once

#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>

namespace mambase::test::reference {

inline Array linear(const Array& x, const Array& weight, const Array& bias) {
    Array y({x.extent(0), x.extent(1), weight.extent(0)});
    for (std::int64_t b = 0; b < x.extent(0); ++b) {
        for (std::int64_t t = 0; t < x.extent(1); ++t) {
            for (std::int64_t o = 0; o < weight.extent(0); ++o) {
                double sum = bias ? bias(o) : 0.0;
                for (std::int64_t i = 0; i < weight.extent(1); ++i) {
                    sum += x(b, t, i) * weight(o, i);
                }
                y(b, t, o) = sum;
            }
        }
    }
    return y;
}

struct LinearGrad {
    Array dx, dweight, dbias;
};

inline LinearGrad linear_grad(const Array& x, const Array& weight, const Array& dy) {
    LinearGrad grad{Array(x.shape), Array(weight.shape), Array({weight.extent(0)})};
    for (std::int64_t b = 0; b < x.extent(0); ++b) {
        for (std::int64_t t = 0; t < x.extent(1); ++t) {
            for (std::int64_t o = 0; o < weight.extent(0); ++o) {
                grad.dbias(o) += dy(b, t, o);
                for (std::int64_t i = 0; i < weight.extent(1); ++i) {
                    grad.dx(b, t, i) += dy(b, t, o) * weight(o, i);
                    grad.dweight(o, i) += dy(b, t, o) * x(b, t, i);
                }
            }
        }
    }
    return grad;
}

}  // namespace mambase::test::reference
