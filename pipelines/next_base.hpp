// The next base drawn from what a model says of it.
#pragma once

#include <array>

namespace mambase::pipelines {

struct Sampling {
    double temperature = 1.0;  // above 0; logits are divided by it
    int top_k = 4;             // 1 to 4: only the K likeliest bases (of equals the first)
};

/// Of A, C, G and T in this order; they sum to 1.
using BaseProbabilities = std::array<double, 4>;

inline constexpr BaseProbabilities kUniformBases = {0.25, 0.25, 0.25, 0.25};

BaseProbabilities base_probabilities(const std::array<double, 4>& logits, const Sampling& sampling);

/// The base (0 … 3) whose share of [0, 1) holds `u`; never one of probability 0.
int draw_base(const BaseProbabilities& probabilities, double u);

}  // namespace mambase::pipelines
