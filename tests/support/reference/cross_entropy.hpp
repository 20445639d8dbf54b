// Weighted cross-entropy in double precision. Weight and support may be absent.
#pragma once

#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>

namespace mambase::test::reference {

inline bool in_support(const Array& support, std::int64_t id) {
    bool found = !support;
    for (const double one : support.values) {
        found = found || static_cast<std::int64_t>(one) == id;
    }
    return found;
}

/// log Σ exp(logits[b,t,j]) over the support.
inline double log_sum_exp(const Array& logits,
                          const Array& support,
                          std::int64_t b,
                          std::int64_t t) {
    double max = -HUGE_VAL;
    for (std::int64_t j = 0; j < logits.extent(2); ++j) {
        max = in_support(support, j) ? std::fmax(max, logits(b, t, j)) : max;
    }
    double sum = 0.0;
    for (std::int64_t j = 0; j < logits.extent(2); ++j) {
        sum += in_support(support, j) ? std::exp(logits(b, t, j) - max) : 0.0;
    }
    return max + std::log(sum);
}

struct CrossEntropy {
    Array loss, best, loss_sum;
};

inline CrossEntropy cross_entropy(const Array& logits,
                                  const Array& targets,
                                  const Array& weight,
                                  const Array& support) {
    CrossEntropy out{Array(targets.shape), Array(targets.shape), Array({targets.extent(0)})};
    for (std::int64_t b = 0; b < targets.extent(0); ++b) {
        for (std::int64_t t = 0; t < targets.extent(1); ++t) {
            std::int64_t best = -1;
            for (std::int64_t j = 0; j < logits.extent(2); ++j) {
                if (in_support(support, j) && (best < 0 || logits(b, t, j) > logits(b, t, best))) {
                    best = j;
                }
            }
            out.best(b, t) = static_cast<double>(best);
            const double w = weight ? weight(b, t) : 1.0;
            if (w != 0.0) {
                const auto target = static_cast<std::int64_t>(targets(b, t));
                out.loss(b, t) = log_sum_exp(logits, support, b, t) - logits(b, t, target);
                out.loss_sum(b) += w * out.loss(b, t);
            }
        }
    }
    return out;
}

inline Array cross_entropy_grad(const Array& logits,
                                const Array& targets,
                                const Array& weight,
                                double scale) {
    Array grad(logits.shape);
    for (std::int64_t b = 0; b < targets.extent(0); ++b) {
        for (std::int64_t t = 0; t < targets.extent(1); ++t) {
            const double w = weight ? weight(b, t) : 1.0;
            for (std::int64_t j = 0; j < logits.extent(2) && w != 0.0; ++j) {
                const double p = std::exp(logits(b, t, j) - log_sum_exp(logits, {}, b, t));
                const double hot = static_cast<std::int64_t>(targets(b, t)) == j ? 1.0 : 0.0;
                grad(b, t, j) = scale * w * (p - hot);
            }
        }
    }
    return grad;
}

}  // namespace mambase::test::reference
