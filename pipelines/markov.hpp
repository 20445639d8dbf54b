// Markov models of DNA: what a language model has to beat.
//
// p(base | the K bases before it) = (count + 1) / (total + 4), counts of (K+1)-mers of A, C, G, T
// on both strands (Laplace's rule, alpha = 1).
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace mambase::pipelines {

inline constexpr int kMaxMarkovOrder = 12;

/// The bits of a word of `bases` bases, two each.
constexpr std::uint32_t word_mask(int bases) {
    return static_cast<std::uint32_t>((std::uint64_t{1} << (2 * bases)) - 1);
}

/// Models of the orders 0 … K from one pass over the data. First add(), then fit() once, then
/// nats() and is_best().
///
/// Memory: 8 bytes a (K+1)-mer and a third more for the lower orders: order 11 takes 179 MB, order
/// 12 716 MB.
class MarkovModel {
  public:
    /// 0 <= order <= kMaxMarkovOrder, else Error{usage}.
    explicit MarkovModel(int order);

    int order() const { return order_; }

    /// Counts the next base (0 … 3 for A, C, G, T).
    void add(int base) {
        word_ = ((word_ << 2) | static_cast<std::uint32_t>(base)) & top_mask_;
        if (length_ < order_) {
            ++length_;
            ++cells_[static_cast<std::size_t>(length_ - 1)][word_];
        } else {
            ++cells_.back()[word_];
        }
    }
    /// What comes next does not follow what came before: a base that is not A, C, G or T, the end
    /// of a record.
    void end_stretch();
    /// Counts both strands and turns the counts into probabilities.
    void fit();

    /// `word`: the last `order` + 1 bases, two bits each, the latest lowest.
    double nats(int order, std::uint32_t word) const {
        return std::abs(cells_[static_cast<std::size_t>(order)][word]);
    }
    /// Whether the word's last base is the likeliest after the others (of equals, the first).
    bool is_best(int order, std::uint32_t word) const {
        return std::signbit(cells_[static_cast<std::size_t>(order)][word]);
    }

  private:
    int order_;
    std::uint32_t top_mask_ = 0;
    // cells_[k][word of k + 1 bases]: while counting, what was seen with exactly k bases before it
    // (k = order: at least), exact as doubles; after fit(), -log p, negated for
    // the best of four (p < 1, so none is zero).
    std::vector<std::vector<double>> cells_;
    std::uint32_t word_ = 0;  // the latest order + 1 bases of the stretch
    int length_ = 0;          // bases of the stretch so far, up to order
};

}  // namespace mambase::pipelines
