#include "pipelines/next_base.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace mambase::pipelines {

BaseProbabilities base_probabilities(const std::array<double, 4>& logits,
                                     const Sampling& sampling) {
    std::array<std::size_t, 4> ranked = {0, 1, 2, 3};
    std::stable_sort(ranked.begin(), ranked.end(),
                     [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
    const double largest = logits[ranked.front()];
    BaseProbabilities out{};
    for (int rank = 0; rank < sampling.top_k; ++rank) {
        const std::size_t base = ranked[static_cast<std::size_t>(rank)];
        out[base] = std::exp((logits[base] - largest) / sampling.temperature);
    }
    const double total = std::accumulate(out.begin(), out.end(), 0.0);
    for (double& p : out) {
        p /= total;
    }
    return out;
}

int draw_base(const BaseProbabilities& probabilities, double u) {
    int drawn = 0;
    double below = 0.0;
    for (int base = 0; base < 4; ++base) {
        const double p = probabilities[static_cast<std::size_t>(base)];
        if (p <= 0.0) {
            continue;
        }
        drawn = base;  // the last that is possible takes what rounding leaves
        below += p;
        if (u < below) {
            break;
        }
    }
    return drawn;
}

}  // namespace mambase::pipelines
