#include "pipelines/markov.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cmath>

namespace mambase::pipelines {

namespace {

/// Of a word of `bases` bases: with A 0, C 1, G 2, T 3 the complement is 3 − base.
std::uint32_t reverse_complement(std::uint32_t word, int bases) {
    std::uint32_t out = ~word;
    out = ((out >> 2) & 0x33333333U) | ((out & 0x33333333U) << 2);
    out = ((out >> 4) & 0x0F0F0F0FU) | ((out & 0x0F0F0F0FU) << 4);
    return __builtin_bswap32(out) >> (32 - 2 * bases);
}

}  // namespace

MarkovModel::MarkovModel(int order) : order_(order) {
    MAMBASE_REQUIRE(
        order >= 0 && order <= kMaxMarkovOrder, ErrorCode::usage,
        concat("the order of a Markov model is 0 to ", kMaxMarkovOrder, ", not ", order));
    top_mask_ = word_mask(order + 1);
    for (int k = 0; k <= order; ++k) {
        cells_.emplace_back(std::size_t{1} << (2 * (k + 1)), 0.0);
    }
}

void MarkovModel::end_stretch() {
    // Read on the other strand, the stretch begins with the complements of its last bases, and
    // those have fewer than `order` bases before them.
    for (int bases = 1; bases <= length_; ++bases) {
        const std::uint32_t last = word_ & word_mask(bases);
        ++cells_[static_cast<std::size_t>(bases - 1)][reverse_complement(last, bases)];
    }
    word_ = 0;
    length_ = 0;
}

void MarkovModel::fit() {
    end_stretch();
    std::vector<double>& top = cells_.back();
    for (std::uint32_t word = 0; word < top.size(); ++word) {
        const std::uint32_t other = reverse_complement(word, order_ + 1);
        if (word <= other) {
            const double both = top[word] + top[other];
            top[word] = both;
            top[other] = both;
        }
    }
    for (std::size_t k = cells_.size() - 1; k > 0; --k) {
        const std::vector<double>& longer = cells_[k];
        std::vector<double>& shorter = cells_[k - 1];
        for (std::size_t word = 0; word < longer.size(); ++word) {
            shorter[word & (shorter.size() - 1)] += longer[word];
        }
    }
    for (std::vector<double>& cells : cells_) {
        for (std::size_t first = 0; first < cells.size(); first += 4) {
            double* const four = &cells[first];
            const double total = four[0] + four[1] + four[2] + four[3];
            std::transform(four, four + 4, four, [total](double count) {
                return -std::log((count + 1.0) / (total + 4.0));
            });
            double& best = *std::min_element(four, four + 4);
            best = -best;
        }
    }
}

}  // namespace mambase::pipelines
